//! `metahubctl type`: named descriptions of kinds of hosts.

mod diff;
mod plan;
mod shape;

use anyhow::Context;
use clap::ArgGroup;
use serde::Serialize;

use self::shape::{CHANGES, Edit, Shape};
use crate::{
    client::{Client, Created},
    commands::login::{self, Shown},
    config::Settings,
    failure::Failure,
    output::Output,
    record::MachineType,
};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Creates a machine type and a login for it, and shows the login's secret
    /// once.
    Create {
        #[command(flatten)]
        key: Key,
        /// What the host has, for example `cpu:broadwell`; repeatable.
        #[arg(long = "feature", value_name = "FEATURE", value_delimiter = ',')]
        features: Vec<String>,
        #[command(flatten)]
        shape: Shape,
        /// Create no login.
        #[arg(long)]
        no_login: bool,
        /// Let hosts add features after `+` in the login's name.
        #[arg(long, conflicts_with = "no_login")]
        allow_selectors: bool,
    },
    /// Lists machine types.
    List {
        /// Only those of this user.
        #[arg(long)]
        user: Option<String>,
    },
    /// Shows all of a machine type.
    Show {
        #[command(flatten)]
        key: Key,
    },
    /// Changes what the flags name, and nothing else.
    #[command(group(ArgGroup::new("change").required(true).multiple(true).args(CHANGES)))]
    Update {
        #[command(flatten)]
        key: Key,
        #[command(flatten)]
        edit: Edit,
    },
    /// Says what an update with the same flags would change, and changes
    /// nothing: which images, from which variant to which.
    #[command(group(ArgGroup::new("change").required(true).multiple(true).args(CHANGES)))]
    Diff(Box<diff::Arguments>),
    /// Plans the smallest set of machine types that describes the hosts of a
    /// fleet. Works on files; `-o policy` prints a file for `metahubctl apply`.
    Plan(plan::Arguments),
    /// Deletes a machine type with its logins and pins.
    Delete {
        #[command(flatten)]
        key: Key,
    },
}

/// Which machine type is meant.
#[derive(Debug, clap::Args)]
pub(crate) struct Key {
    /// The machine type's name, for example `type1`.
    #[arg(value_name = "TYPE")]
    name: String,
    /// The user that owns it.
    #[arg(long)]
    user: String,
}

/// A new machine type as programs read it.
#[derive(Serialize)]
struct CreatedType<'a> {
    #[serde(flatten)]
    machine_type: &'a MachineType,
    login: Option<&'a Shown>,
    warnings: &'a [String],
}

pub(crate) async fn run(
    command: Command,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let command = match command {
        Command::Diff(arguments) => return diff::run(*arguments, settings, output).await,
        Command::Plan(arguments) => return plan::run(&arguments, settings, output).await,
        other => other,
    };
    let client = Client::connect(settings).await?;
    match command {
        Command::Diff(_) | Command::Plan(_) => Ok(()),
        Command::Create {
            key,
            features,
            shape,
            no_login,
            allow_selectors,
        } => {
            let mut machine_type = MachineType::for_linux(key.user, key.name, features);
            shape.apply(&mut machine_type.shape);
            let created = create(&client, machine_type, !no_login, allow_selectors).await?;
            let registry = login::registry(settings, &client).await;
            print_created(created, &registry, allow_selectors, output)
        }
        Command::List { user } => output.list(&client.machine_types(user.as_deref()).await?),
        Command::Show { key } => {
            let machine_type = client.machine_type(&key.user, &key.name).await?;
            let text = serde_saphyr::to_string(&machine_type).context("cannot write YAML")?;
            output.record(&machine_type, &text)
        }
        Command::Update { key, edit } => {
            let mut machine_type = client.machine_type(&key.user, &key.name).await?;
            edit.apply(&mut machine_type.shape);
            let updated = client.update_type(machine_type).await?;
            output.warn(&updated.warnings);
            let text = format!("Updated type {}/{}.", key.user, key.name);
            output.record(&updated.machine_type, &text)
        }
        Command::Delete { key } => {
            client.delete_type(&key.user, &key.name).await?;
            output.done(&format!("Deleted type {}/{}.", key.user, key.name))
        }
    }
}

async fn create(
    client: &Client,
    machine_type: MachineType,
    with_login: bool,
    allow_selectors: bool,
) -> anyhow::Result<Created> {
    let user = machine_type.user.clone();
    let created = client
        .create_type(machine_type, with_login, allow_selectors)
        .await;
    match created {
        Err(failure @ Failure::NotFound(_)) => Err(anyhow::Error::from(failure).context(format!(
            "user `{user}` does not exist: create it first with `metahubctl user create {user}`"
        ))),
        other => Ok(other?),
    }
}

fn print_created(
    created: Created,
    registry: &str,
    allow_selectors: bool,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    output.warn(&created.warnings);
    let login = created.login.map(|login| Shown::of(login, registry));
    let mut text = format!(
        "Created type {}/{}.\n",
        created.machine_type.user, created.machine_type.name,
    );
    if let Some(login) = &login {
        text += &format!("\n{}", login.text());
        if allow_selectors {
            text += &login.selectors();
        }
    }
    let record = CreatedType {
        machine_type: &created.machine_type,
        login: login.as_ref(),
        warnings: &created.warnings,
    };
    output.record(&record, &text)
}
