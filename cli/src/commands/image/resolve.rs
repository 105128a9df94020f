//! `metahubctl image resolve`: prints the digest that an image's name resolves
//! to for a machine type, for files that name images by digest.

use anyhow::bail;
use serde::Serialize;

use crate::{
    client::Client,
    config::Settings,
    explain::{
        name::ImageName,
        outcome::{Form, Outcome, outcome},
        policy::{NamedHost, Policy},
    },
    failure::Failure,
    output::Output,
    pull::{LoginArguments, Registry},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The image as hosts pull it, for example `qnib/bench:latest`. The output
    /// starts with the same name.
    image: ImageName,

    /// The machine type: `USER/TYPE`, or `TYPE` if only one user has a type of
    /// that name. Can have selectors, as in its logins: `TYPE+nvcap:8.0`.
    #[arg(long = "type", value_name = "TYPE")]
    machine_type: String,

    #[command(flatten)]
    login: LoginArguments,
}

/// The result of resolving a name for a machine type.
#[derive(Debug, Serialize)]
struct Resolved {
    /// The name as given.
    image: String,
    user: String,
    #[serde(rename = "type")]
    machine_type: String,
    /// The result, `repository@digest`. `None`: no variant fits.
    reference: Option<String>,
    digest: Option<String>,
    /// Whether the digest names one image or an index.
    #[serde(rename = "as")]
    form: Form,
    /// The digest that the name has at the upstream.
    source: String,
    /// The error for hosts of the type if no variant fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<String>,
}

pub(super) async fn run(
    arguments: &Arguments,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let client = Client::connect(settings).await?;
    let policy = client.policy().await?;
    let host = policy.machine_type(&arguments.machine_type)?;
    let registry = Registry::open(settings, Some(&client), &arguments.login).await?;
    let resolved = resolve(&arguments.image, &host, &policy, &registry).await?;
    let Some(reference) = &resolved.reference else {
        if output.is_for_programs() {
            output.record(&resolved, "")?;
        }
        return Err(Failure::NothingFits(resolved.refusal.unwrap_or_default()).into());
    };
    if resolved.form != Form::Image {
        output.note(&format!(
            "{reference} is an index: a host chooses from it by its platform alone."
        ));
    }
    output.record(&resolved, reference)
}

async fn resolve(
    image: &ImageName,
    host: &NamedHost,
    policy: &Policy,
    registry: &Registry,
) -> anyhow::Result<Resolved> {
    let name = registry.name(image.clone());
    if !policy
        .refused(&name, std::slice::from_ref(host))?
        .is_empty()
    {
        bail!(
            "no host of {} may pull {name}: there is no grant for it",
            host.user
        );
    }
    let content = registry.content(&name).await?;
    let subject = policy.subject(&name, &content)?;
    let outcome = outcome(&subject, host, policy.pin(host, &name)?)?;
    let (digest, form) = child(&outcome);
    Ok(Resolved {
        image: image.to_string(),
        user: host.user.clone(),
        machine_type: host.name.clone(),
        reference: digest.as_ref().map(|it| format!("{}@{it}", image.name)),
        digest,
        form,
        source: content.digest().to_owned(),
        refusal: outcome.answer.refusal,
    })
}

/// The one image that the type gets, also from an index with a single image;
/// else the tag's result for the type.
fn child(outcome: &Outcome) -> (Option<String>, Form) {
    let mut images = outcome.images();
    match (images.next(), images.next()) {
        (Some(image), None) => (Some(image.digest.clone()), Form::Image),
        _ => (outcome.answer.gets.clone(), outcome.answer.form),
    }
}
