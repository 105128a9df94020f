//! `metahubctl rule`: requirements of variants that their author did not label.

use anyhow::{anyhow, bail};
use metahub_policy::{Rule, RuleMatch};

use crate::{client::Client, config::Settings, output::Output};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Creates or replaces a rule.
    Create {
        /// Its name. Rules apply in the order of their names.
        name: String,
        #[command(flatten)]
        scope: Scope,
        /// What a host needs, for example `cpu:x86_64_v3`; repeatable.
        #[arg(long, value_name = "FEATURE", value_delimiter = ',', required = true)]
        requires: Vec<String>,
    },
    /// Lists rules.
    List,
    /// Deletes a rule.
    Delete {
        /// Its name.
        name: String,
    },
}

/// What a rule is about.
#[derive(Debug, clap::Args)]
pub(crate) struct Scope {
    /// The repositories, for example `almalinux/*` or `ghcr.io/**` [default:
    /// all].
    #[arg(long, default_value = "", hide_default_value = true)]
    repository: String,
    /// The tags, for example `9.*` [default: all].
    #[arg(long, default_value = "", hide_default_value = true)]
    tag: String,
    /// The entries, for example `architecture=amd64,variant=`; an empty value
    /// means entries that lack the field [default: all].
    #[arg(long = "match", value_name = "FIELD=VALUE,…", value_parser = parse_match,
          default_value = "", hide_default_value = true)]
    matches: RuleMatch,
}

pub(crate) async fn run(
    command: Command,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let client = Client::connect(settings).await?;
    match command {
        Command::Create {
            name,
            scope,
            requires,
        } => {
            let rule = Rule {
                name,
                repository: scope.repository,
                tag: scope.tag,
                matches: scope.matches,
                requires,
            };
            client.put_rule(rule.clone()).await?;
            output.record(&rule, &format!("Created rule {}.", rule.name))
        }
        Command::List => output.list(&client.rules().await?),
        Command::Delete { name } => {
            client.delete_rule(&name).await?;
            output.done(&format!("Deleted rule {name}."))
        }
    }
}

fn parse_match(text: &str) -> anyhow::Result<RuleMatch> {
    let mut matches = RuleMatch::default();
    for condition in text.split(',').filter(|condition| !condition.is_empty()) {
        let (field, value) = condition
            .split_once('=')
            .ok_or_else(|| anyhow!("`{condition}` is not of the form FIELD=VALUE"))?;
        let place = match field {
            "os" => &mut matches.os,
            "architecture" | "arch" => &mut matches.architecture,
            "variant" => &mut matches.variant,
            "os.version" => &mut matches.os_version,
            "digest" => &mut matches.digest,
            _ => bail!("`{field}` is not one of os, architecture, variant, os.version, digest"),
        };
        *place = Some(value.into());
    }
    Ok(matches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_value_is_not_the_same_as_none() {
        let matches = parse_match("architecture=amd64,variant=").unwrap();

        assert_eq!(matches.architecture.as_deref(), Some("amd64"));
        assert_eq!(matches.variant.as_deref(), Some(""));
        assert_eq!(matches.os, None);
    }

    #[test]
    fn an_unknown_field_is_refused_by_name() {
        let error = parse_match("cpu=broadwell").unwrap_err();

        assert!(error.to_string().contains("`cpu`"), "{error}");
    }
}
