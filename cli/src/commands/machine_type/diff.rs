//! `metahubctl type diff`: what a change of a machine type would do, before it
//! is made.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, bail};
use metahub_policy::{CpuTable, Rule};
use serde::Serialize;

use super::shape::Edit;
use crate::{
    client::Client,
    commands::image::source,
    config::Settings,
    explain::{
        Subject,
        change::{Change, Side},
        content::Content,
        name::ImageName,
        outcome::{Outcome, Variant, outcome},
        policy::{NamedHost, Policy, Records},
    },
    output::{Output, Row, table},
    pull::{LoginArguments, Registry},
    record::MachineType,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The machine type: `TYPE` with --user, or `USER/TYPE`.
    #[arg(
        value_name = "TYPE",
        required_unless_present = "type_file",
        conflicts_with = "type_file"
    )]
    name: Option<String>,

    /// The user that owns it.
    #[arg(long)]
    user: Option<String>,

    #[command(flatten)]
    edit: Edit,

    /// The file that names the images, one a line; `-` is stdin.
    #[arg(long, value_name = "FILE", required_unless_present = "index")]
    images: Option<PathBuf>,

    /// A file that holds an image index instead, as the registry serves it;
    /// repeatable. Rules about some repositories or tags do not apply to it.
    #[arg(long, value_name = "FILE", conflicts_with = "images")]
    index: Vec<PathBuf>,

    /// The file that holds the machine type. With --index, neither a control
    /// plane nor a registry is needed then.
    #[arg(long, value_name = "FILE")]
    type_file: Option<PathBuf>,

    /// The file that holds the rules, all of which apply.
    #[arg(long, value_name = "FILE", requires_all = ["index", "type_file"])]
    rules: Option<PathBuf>,

    #[command(flatten)]
    login: LoginArguments,
}

/// What the change would do.
#[derive(Serialize)]
struct Diff {
    user: String,
    #[serde(rename = "type")]
    name: String,
    images: Vec<Change>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed: Vec<Failed>,
}

/// An image that could not be looked at.
#[derive(Serialize)]
struct Failed {
    image: String,
    error: String,
}

pub(crate) async fn run(
    arguments: Arguments,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let client = match arguments.needs_control() {
        true => Some(Client::connect(settings).await?),
        false => None,
    };
    let policy = match &client {
        Some(client) => client.policy().await?,
        None => arguments.policy()?,
    };
    let before = arguments.before(&policy)?;
    let mut shape = before.host.machine_type().clone();
    arguments.edit.clone().apply(&mut shape);
    let warnings = shape.check(&policy.cpus);
    output.warn(&warnings.context("the change would be refused")?);
    let after = MachineType {
        user: before.user.clone(),
        name: before.name.clone(),
        shape,
    };
    let sides = Sides {
        policy: &policy,
        after: NamedHost::new(after, &policy.cpus)?,
        before,
    };
    let mut diff = Diff {
        user: sides.before.user.clone(),
        name: sides.before.name.clone(),
        images: Vec::new(),
        failed: Vec::new(),
    };
    for path in &arguments.index {
        let content = Content::Index(source::index(path)?);
        let change = sides.of_file(&path.display().to_string(), &content)?;
        diff.images.push(change);
    }
    if let Some(path) = &arguments.images {
        let names = source::names(path)?;
        let registry = Registry::open(settings, client.as_ref(), &arguments.login).await?;
        diff.look_at(names, &registry, &sides).await;
    }
    diff.print(output)
}

impl Arguments {
    fn needs_control(&self) -> bool {
        self.type_file.is_none() || self.images.is_some()
    }

    /// The policy without a control plane: rules from a file.
    fn policy(&self) -> anyhow::Result<Policy> {
        let rules = self.rules.as_deref().map(source::rules).transpose()?;
        // All of them apply.
        let general = |rule: Rule| Rule {
            repository: String::new(),
            tag: String::new(),
            ..rule
        };
        Policy::new(Records {
            rules: rules.into_iter().flatten().map(general).collect(),
            ..Records::default()
        })
    }

    /// The machine type as it is.
    fn before(&self, policy: &Policy) -> anyhow::Result<NamedHost> {
        if let Some(path) = &self.type_file {
            let record = MachineType {
                user: String::new(),
                name: path.display().to_string(),
                shape: source::machine_type(path)?,
            };
            return NamedHost::new(record, &policy.cpus);
        }
        let name = self.name.as_deref().unwrap_or_default();
        match &self.user {
            Some(user) => policy.machine_type(&format!("{user}/{name}")),
            None => policy.machine_type(name),
        }
    }
}

/// A machine type before and after the change.
struct Sides<'a> {
    policy: &'a Policy,
    before: NamedHost,
    after: NamedHost,
}

impl Sides<'_> {
    async fn of_image(&self, name: &ImageName, registry: &Registry) -> anyhow::Result<Change> {
        let content = registry.content(name).await?;
        let subject = self.policy.subject(name, &content)?;
        self.change(&subject, self.policy.pin(&self.before, name)?)
    }

    fn of_file(&self, name: &str, content: &Content) -> anyhow::Result<Change> {
        let subject = Subject {
            name: name.to_owned(),
            content,
            rules: self.policy.general_rules(),
            cpus: Arc::<CpuTable>::clone(&self.policy.cpus),
        };
        self.change(&subject, None)
    }

    fn change(&self, subject: &Subject<'_>, pin: Option<&str>) -> anyhow::Result<Change> {
        let of = |host: &NamedHost| -> anyhow::Result<Outcome> { outcome(subject, host, pin) };
        let (from, to) = (of(&self.before)?, of(&self.after)?);
        Ok(Change::of(subject.name.clone(), &from, &to))
    }
}

impl Diff {
    /// Looks at images one after the other. One that fails does not hide what
    /// happens to the others.
    async fn look_at(&mut self, names: Vec<ImageName>, registry: &Registry, sides: &Sides<'_>) {
        for name in names {
            let name = registry.name(name);
            match sides.of_image(&name, registry).await {
                Ok(change) => self.images.push(change),
                Err(error) => self.failed.push(Failed {
                    image: name.to_string(),
                    error: format!("{error:#}"),
                }),
            }
        }
    }

    fn print(&self, output: &mut Output<'_>) -> anyhow::Result<()> {
        let changed: Vec<_> = self.images.iter().filter(|change| change.changed).collect();
        let text = match changed.as_slice() {
            [] => String::new(),
            some => table(some),
        };
        if changed.is_empty() {
            output.record(self, "No image changes.")?;
        } else {
            output.record(self, &text)?;
        }
        let (changed, all) = (changed.len(), self.images.len());
        output.note(&format!("{changed} of {all} images would change."));
        for failed in &self.failed {
            output.note(&failed.error);
        }
        match self.failed.len() {
            0 => Ok(()),
            failed => bail!("{failed} images could not be looked at"),
        }
    }
}

impl Row for &Change {
    const COLUMNS: &'static [&'static str] = &["IMAGE", "FROM", "TO"];

    fn cells(&self) -> Vec<String> {
        vec![self.image.clone(), side(&self.from), side(&self.to)]
    }
}

/// For example `sha256:0123456789ab (cpu:skylake)`, or `nothing`.
fn side(side: &Side) -> String {
    let variants: Vec<_> = side.variants.iter().map(variant).collect();
    match (&side.answer.gets, variants.as_slice()) {
        (None, _) => "nothing".into(),
        (Some(digest), []) => digest.clone(),
        (Some(_), some) => some.join(", "),
    }
}

fn variant(variant: &Variant) -> String {
    let needs = match variant.requirements.as_slice() {
        [] => "no requirements".to_owned(),
        some => some.join(" "),
    };
    format!("{} ({needs})", variant.digest)
}
