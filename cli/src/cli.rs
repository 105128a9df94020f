//! The command line, and which command runs what.

use std::{io::Write, time::Duration};

use clap::{Parser, Subcommand};

use crate::{
    client::Client,
    commands::{
        audit, auth, authority, cache, client_config, completions, cpu, demo, doctor, grant, host,
        image, login, machine_type, pin, policy, recipe, rule, status, token, up, upstream, user,
        worker,
    },
    config::{Config, Settings},
    output::Output,
};

/// How long `--wait` waits.
const PATIENCE: Duration = Duration::from_secs(30);

/// Administers a MetaHub, and runs one in a single process.
#[derive(Debug, Parser)]
#[command(name = "metahubctl", version, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    config: Config,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Users: accounts that own machine types.
    #[command(subcommand)]
    User(user::Command),
    /// Machine types: named descriptions of kinds of hosts.
    #[command(subcommand)]
    Type(machine_type::Command),
    /// Lists, manages and joins hosts, each with a login of its own.
    #[command(subcommand)]
    Host(host::Command),
    /// Logins: what hosts give to `docker login`.
    #[command(subcommand)]
    Login(login::Command),
    /// Admin tokens: what programs and people call the control plane with.
    #[command(subcommand)]
    Token(token::Command),
    /// Signing in, and who the control plane takes the caller for.
    #[command(subcommand)]
    Auth(auth::Command),
    /// Upstreams: registries that MetaHub pulls from.
    #[command(subcommand)]
    Upstream(upstream::Command),
    /// Rules: requirements of variants that their author did not label.
    #[command(subcommand)]
    Rule(rule::Command),
    /// Pins: variants that an admin has chosen for a type.
    #[command(subcommand)]
    Pin(pin::Command),
    /// Grants: who may pull from restricted upstreams.
    #[command(subcommand)]
    Grant(grant::Command),
    /// CPU names beyond the built-in table.
    #[command(subcommand)]
    Cpu(cpu::Command),
    /// Recipes: how to make trimmed indexes again.
    #[command(subcommand)]
    Recipe(recipe::Command),
    /// What workers keep of upstreams.
    #[command(subcommand)]
    Cache(cache::Command),
    /// Images, and who gets what of them.
    #[command(subcommand)]
    Image(image::Command),
    /// Makes the policy what files say, in one revision.
    Apply(policy::Apply),
    /// Says what applying files would change.
    Diff(policy::Diff),
    /// Prints the policy as a file that `apply` takes back.
    Export(policy::Export),
    /// The policy as a whole: from files, to a file, and back in time.
    #[command(subcommand)]
    Policy(policy::Command),
    /// The audit: who changed what, from where and when.
    #[command(subcommand)]
    Audit(audit::Command),
    /// The control plane's authority, which callers and workers trust.
    #[command(subcommand)]
    Authority(authority::Command),
    /// Workers: the proxies that serve the registry API.
    #[command(subcommand)]
    Worker(worker::Command),
    /// Prints or writes the files that make an engine pull through MetaHub.
    ClientConfig(Box<client_config::Arguments>),
    /// Tells the state of the control plane and its workers.
    Status,
    /// Checks this host's pulls: one line per check, with the next step. Exits
    /// with 1 if a check fails, and with 3 if a check warns.
    Doctor(doctor::Arguments),
    /// Runs both planes in this process, for one machine and for trying out.
    Up(Box<up::Arguments>),
    /// Shows what MetaHub does, with its own upstream, images and hosts. Needs
    /// no network and no docker.
    Demo(demo::Arguments),
    /// Prints completions for a shell.
    Completions(completions::Arguments),
}

impl Command {
    fn can_change_the_policy(&self) -> bool {
        matches!(
            self,
            Self::User(_)
                | Self::Type(_)
                | Self::Login(_)
                | Self::Upstream(_)
                | Self::Rule(_)
                | Self::Pin(_)
                | Self::Grant(_)
                | Self::Cpu(_)
                | Self::Cache(_)
                | Self::Host(host::Command::Remove(_) | host::Command::Move { .. })
                | Self::Apply(_)
                | Self::Policy(_)
        )
    }
}

/// Runs one command: results go to `out`, all else to `notes`.
///
/// # Errors
///
/// Fails with what went wrong; [`crate::exit_code`] says what to do next.
pub async fn run(cli: Cli, out: &mut dyn Write, notes: &mut dyn Write) -> anyhow::Result<()> {
    if let Command::Completions(arguments) = &cli.command {
        return completions::run(arguments, out);
    }
    let settings = cli.config.resolve()?;
    let mut output = Output::new(settings.format, out, notes);
    let waits = settings.wait && cli.command.can_change_the_policy();
    run_with(cli.command, &settings, &mut output).await?;
    if waits {
        let client = Client::connect(&settings).await?;
        client.settled(0, PATIENCE).await?;
    }
    Ok(())
}

async fn run_with(
    command: Command,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    match command {
        Command::User(command) => user::run(command, settings, output).await,
        Command::Type(command) => machine_type::run(command, settings, output).await,
        Command::Host(command) => host::run(command, settings, output).await,
        Command::Login(command) => login::run(command, settings, output).await,
        Command::Token(command) => token::run(command, settings, output).await,
        Command::Auth(command) => auth::run(command, settings, output).await,
        Command::Upstream(command) => upstream::run(command, settings, output).await,
        Command::Rule(command) => rule::run(command, settings, output).await,
        Command::Pin(command) => pin::run(command, settings, output).await,
        Command::Grant(command) => grant::run(command, settings, output).await,
        Command::Cpu(command) => cpu::run(command, settings, output).await,
        Command::Recipe(command) => recipe::run(command, settings, output).await,
        Command::Cache(command) => cache::run(command, settings, output).await,
        Command::Image(command) => image::run(command, settings, output).await,
        Command::Apply(wanted) => policy::apply(wanted, settings, output).await,
        Command::Diff(wanted) => policy::diff(wanted, settings, output).await,
        Command::Export(wanted) => policy::export(wanted, settings, output).await,
        Command::Policy(command) => policy::run(command, settings, output).await,
        Command::Audit(command) => audit::run(command, settings, output).await,
        Command::Authority(command) => authority::run(command, settings, output).await,
        Command::Worker(command) => worker::run(command, settings, output).await,
        Command::ClientConfig(arguments) => client_config::run(&arguments, settings, output),
        Command::Status => status::run(settings, output).await,
        Command::Doctor(arguments) => doctor::run(&arguments, settings, output).await,
        Command::Up(arguments) => up::run(*arguments, settings, output).await,
        Command::Demo(arguments) => demo::run(arguments, output).await,
        Command::Completions(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_update_that_changes_nothing_is_a_wrong_command_line() {
        let update = ["metahubctl", "type", "update", "type1", "--user", "qnib"];

        assert!(Cli::try_parse_from(update).is_err());
    }

    #[test]
    fn a_grant_is_for_a_user_or_for_all() {
        let create = [
            "metahubctl",
            "grant",
            "create",
            "--repository=ghcr.io/acme/*",
        ];
        let with = |more: &[&str]| Cli::try_parse_from(create.iter().chain(more));

        assert!(with(&["--user=qnib"]).is_ok() && with(&["--all-users"]).is_ok());
        assert!(with(&[]).is_err() && with(&["--user=qnib", "--all-users"]).is_err());
    }

    #[test]
    fn an_update_takes_any_one_change() {
        for flag in ["--feature=a", "--add-feature=a", "--arch=", "--match=exact"] {
            let update = ["metahubctl", "type", "update", "type1", "--user=qnib", flag];

            let parsed = Cli::try_parse_from(update);

            assert!(parsed.is_ok(), "{flag}: {parsed:?}");
        }
    }
}
