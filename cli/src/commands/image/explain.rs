//! `metahubctl image explain`: what each machine type gets, and why.
//!
//! What follows from the policy is [`crate::explain`]'s, the way to the image
//! [`crate::pull`]'s, and the look [`mod@print`]'s.

mod offline;
mod print;

use self::{
    offline::Files,
    print::{Detail, NeedsOf, Overview, TypeOutcome},
};
use crate::{
    client::Client,
    config::Settings,
    explain::{
        Subject,
        name::ImageName,
        needs,
        outcome::{outcome, variants},
        policy::{NamedHost, Policy},
    },
    output::Output,
    pull::{LoginArguments, Registry},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The image as hosts pull it, for example `qnib/bench:latest`.
    #[arg(required_unless_present = "index", conflicts_with = "index")]
    image: Option<ImageName>,

    /// Only this machine type, in detail: `USER/TYPE`, or `TYPE` where one user
    /// alone has one of that name. May carry selectors, as its logins may:
    /// `TYPE+nvcap:8.0`.
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "index")]
    machine_type: Option<String>,

    /// Say which hosts would get which variant, and which machine types get a
    /// fallback or nothing. A fallback: the index has a variant for the type's
    /// platform that it would get instead if it had what that one needs.
    #[arg(long)]
    needs: bool,

    #[command(flatten)]
    login: LoginArguments,

    #[command(flatten)]
    files: Files,
}

pub(super) async fn run(
    arguments: &Arguments,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let Some(name) = &arguments.image else {
        return offline::run(&arguments.files, arguments.needs, output);
    };
    let client = Client::connect(settings).await?;
    let policy = client.policy().await?;
    let types = match &arguments.machine_type {
        Some(name) => vec![policy.machine_type(name)?],
        None => policy.types.clone(),
    };
    let registry = Registry::open(settings, Some(&client), &arguments.login).await?;
    let name = registry.name(name.clone());
    let content = registry.content(&name).await?;
    if name.digest.is_some() {
        output.note(
            "By digest, every host gets exactly this. What follows is for a tag that means it.",
        );
    }
    let refused = policy.refused(&name, &types)?;
    if !refused.is_empty() {
        let users = refused.into_iter().collect::<Vec<_>>().join(", ");
        output.note(&format!(
            "No host of these users may pull it, whatever follows, since they have no grant for it: {users}."
        ));
    }
    let subject = policy.subject(&name, &content)?;
    let online = Online {
        policy: &policy,
        name: &name,
        subject: &subject,
    };
    if arguments.needs {
        online.needs(&types, output)
    } else if arguments.machine_type.is_some() {
        online.detail(&types[0], output)
    } else {
        online.overview(&types, output)
    }
}

/// An image that was fetched, and the policy that applies to it.
struct Online<'a> {
    policy: &'a Policy,
    name: &'a ImageName,
    subject: &'a Subject<'a>,
}

impl Online<'_> {
    fn overview(&self, types: &[NamedHost], output: &mut Output<'_>) -> anyhow::Result<()> {
        let outcomes = types.iter().map(|host| self.outcome(host));
        let overview = Overview {
            image: self.subject.name.clone(),
            digest: self.subject.content.digest().to_owned(),
            rules: self.rules(),
            variants: variants(self.subject),
            types: outcomes.collect::<anyhow::Result<_>>()?,
        };
        output.record(&overview, &overview.text())
    }

    fn detail(&self, host: &NamedHost, output: &mut Output<'_>) -> anyhow::Result<()> {
        let detail = Detail {
            image: self.subject.name.clone(),
            digest: self.subject.content.digest().to_owned(),
            rules: self.rules(),
            machine_type: self.outcome(host)?,
        };
        output.record(&detail, &detail.text())
    }

    fn needs(&self, types: &[NamedHost], output: &mut Output<'_>) -> anyhow::Result<()> {
        let variants = needs::needs(self.subject);
        let standing = |host: &NamedHost| {
            let pin = self.policy.pin(host, self.name)?;
            Ok(needs::standing(self.subject, host, pin, &variants))
        };
        let types = types.iter().map(standing);
        let record = NeedsOf {
            image: self.subject.name.clone(),
            digest: self.subject.content.digest().to_owned(),
            types: types.collect::<anyhow::Result<_>>()?,
            variants,
        };
        output.record(&record, &record.text())
    }

    fn outcome(&self, host: &NamedHost) -> anyhow::Result<TypeOutcome> {
        let pin = self.policy.pin(host, self.name)?;
        Ok(TypeOutcome {
            user: host.user.clone(),
            name: host.name.clone(),
            outcome: outcome(self.subject, host, pin)?,
        })
    }

    fn rules(&self) -> Vec<String> {
        let rules = self.subject.rules.iter();
        rules.map(|rule| rule.name.clone()).collect()
    }
}
