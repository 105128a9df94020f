//! `metahubctl cpu`: CPU names beyond the built-in table.

use metahub_policy::Cpu;

use crate::{client::Client, config::Settings, output::Output};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Adds a CPU name, or replaces an added one.
    Add {
        /// Its name, lower case with underscores, for example `futurelake`.
        name: String,
        /// A CPU whose builds it runs too; repeatable.
        #[arg(long = "parent", value_name = "CPU", value_delimiter = ',')]
        parents: Vec<String>,
        /// A CPU flag that is new with it over its parents; repeatable.
        #[arg(long = "feature", value_name = "FLAG", value_delimiter = ',')]
        features: Vec<String>,
        /// Another name for it; repeatable.
        #[arg(long = "alias", value_name = "NAME", value_delimiter = ',')]
        aliases: Vec<String>,
    },
    /// Lists the added CPU names.
    List,
    /// Removes an added CPU name.
    Remove {
        /// Its name.
        name: String,
    },
}

pub(crate) async fn run(
    command: Command,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let client = Client::connect(settings).await?;
    match command {
        Command::Add {
            name,
            parents,
            features,
            aliases,
        } => {
            let cpu = Cpu {
                name,
                parents,
                features,
                aliases,
            };
            client.put_cpu(cpu.clone()).await?;
            output.record(&cpu, &format!("Added cpu {}.", cpu.name))
        }
        Command::List => output.list(&client.cpus().await?),
        Command::Remove { name } => {
            client.delete_cpu(&name).await?;
            output.done(&format!("Removed cpu {name}."))
        }
    }
}
