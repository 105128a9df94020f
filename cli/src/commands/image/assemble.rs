//! `metahubctl image assemble`: pushes an index that says what each of its
//! images needs, since few tools can still write `features`.

mod origin;
mod reference;
mod spec;

use std::{fs, path::PathBuf};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use metahub_policy::is_index_media_type;
use serde::Serialize;
use serde_json::{Value, json};

use self::{
    origin::{Account, Origin},
    reference::Reference,
    spec::{Entry, Spec},
};
use crate::{demo::digest::sha256, output::Output, secret};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The file that says what to assemble, in the YAML of manifest-tool:
    /// `image`, and `manifests` with an `image` and a `platform` each.
    spec: PathBuf,

    /// The account at the registry.
    #[arg(long, requires = "password_file")]
    username: Option<String>,

    /// The file that holds the account's password or token; `-` is stdin.
    #[arg(long, value_name = "FILE", requires = "username")]
    password_file: Option<PathBuf>,

    /// Speak plain HTTP to the registry. On this host that is the default.
    #[arg(long)]
    plain_http: bool,
}

/// What was pushed.
#[derive(Serialize)]
struct Assembled {
    image: String,
    digest: String,
    tags: Vec<String>,
}

/// An image of the index, as the registry holds it.
struct Image {
    media_type: String,
    bytes: Bytes,
    digest: String,
}

pub(super) async fn run(arguments: Arguments, output: &mut Output<'_>) -> anyhow::Result<()> {
    let text = fs::read_to_string(&arguments.spec)
        .with_context(|| format!("cannot read {}", arguments.spec.display()))?;
    let spec: Spec = serde_saphyr::from_str(&text)
        .with_context(|| format!("{} does not say what to assemble", arguments.spec.display()))?;
    let target: Reference = spec.image.parse()?;
    let account = arguments.account()?;
    let origin = Origin::new(&target, account, arguments.plain_http)?;

    let mut images = Vec::with_capacity(spec.manifests.len());
    for entry in &spec.manifests {
        let image = fetch(&origin, &target, entry).await;
        images.push(image.with_context(|| format!("cannot use {}", entry.image))?);
    }
    let (media_type, index) = index(&images, &spec.manifests)?;
    let mut tags = vec![target.tag.clone()];
    tags.extend(spec.tags);
    for tag in &tags {
        origin
            .put_manifest(&target.repository, tag, media_type, index.clone())
            .await?;
    }
    let assembled = Assembled {
        image: spec.image,
        digest: sha256(&index),
        tags,
    };
    let text = format!("Pushed {} as {}.", assembled.digest, assembled.image);
    output.record(&assembled, &text)
}

impl Arguments {
    fn account(&self) -> anyhow::Result<Option<Account>> {
        let (Some(username), Some(file)) = (&self.username, &self.password_file) else {
            return Ok(None);
        };
        Ok(Some(Account {
            username: username.clone(),
            password: secret::read(file)?,
        }))
    }
}

/// Fetches an image's manifest, and makes it part of the target's repository.
async fn fetch(origin: &Origin, target: &Reference, entry: &Entry) -> anyhow::Result<Image> {
    let source: Reference = entry.image.parse()?;
    ensure!(
        source.host == target.host,
        "it is at {}, and the index at {}: copy it there first",
        source.host,
        target.host
    );
    let (media_type, bytes) = origin.manifest(&source.repository, source.name()).await?;
    if is_index_media_type(&media_type) {
        bail!("it is an index: name one of its images by digest");
    }
    let digest = sha256(&bytes);
    if let Some(wanted) = &source.digest {
        ensure!(*wanted == digest, "the registry answered with {digest}");
    }
    let image = Image {
        media_type,
        bytes,
        digest,
    };
    if source.repository != target.repository {
        copy(origin, &source, target, &image).await?;
    }
    Ok(image)
}

/// Makes the registry copy an image to the target's repository.
async fn copy(
    origin: &Origin,
    source: &Reference,
    target: &Reference,
    image: &Image,
) -> anyhow::Result<()> {
    let manifest: Value = serde_json::from_slice(&image.bytes).context("it has no manifest")?;
    let layers = manifest["layers"].as_array().map_or(&[][..], Vec::as_slice);
    for blob in layers.iter().chain([&manifest["config"]]) {
        let digest = blob["digest"].as_str().context("a blob has no digest")?;
        origin
            .mount(&target.repository, digest, &source.repository)
            .await?;
    }
    origin
        .put_manifest(
            &target.repository,
            &image.digest,
            &image.media_type,
            image.bytes.clone(),
        )
        .await
}

/// The index: a docker list when every image is docker's, else an OCI index.
fn index(images: &[Image], entries: &[Entry]) -> anyhow::Result<(&'static str, Bytes)> {
    ensure!(!images.is_empty(), "there is nothing in `manifests`");
    let docker = |image: &Image| image.media_type.starts_with("application/vnd.docker.");
    let media_type = if images.iter().all(docker) {
        "application/vnd.docker.distribution.manifest.list.v2+json"
    } else {
        "application/vnd.oci.image.index.v1+json"
    };
    let mut manifests = Vec::with_capacity(images.len());
    for (image, entry) in images.iter().zip(entries) {
        let mut descriptor = json!({
            "mediaType": image.media_type,
            "size": image.bytes.len(),
            "digest": image.digest,
            "platform": entry.platform,
        });
        if !entry.annotations.is_empty() {
            descriptor["annotations"] = json!(entry.annotations);
        }
        manifests.push(descriptor);
    }
    let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests});
    Ok((media_type, serde_json::to_vec_pretty(&index)?.into()))
}

#[cfg(test)]
mod tests {
    use http::Method;
    use tempfile::TempDir;

    use super::*;
    use crate::{
        demo::{
            image::{Form, ImageSet},
            registry::Registry,
        },
        output::Format,
    };

    async fn registry() -> (Registry, ImageSet) {
        let set = ImageSet::bench(Form::Oci).unwrap();
        let registry = Registry::start().await.unwrap();
        registry.put_images("build/bench", "all", &set);
        for (tag, image) in [("generic", &set.images[0]), ("skylake", &set.images[1])] {
            registry.tag("build/bench", tag, Some(&image.manifest.digest));
        }
        (registry, set)
    }

    fn spec(host: &str) -> String {
        format!(
            "image: {host}/qnib/bench:latest\n\
             tags: ['1.0']\n\
             manifests:\n\
             - image: {host}/build/bench:generic\n  \
               platform: {{os: linux, architecture: amd64}}\n\
             - image: {host}/build/bench:skylake\n  \
               platform: {{os: linux, architecture: amd64, features: ['cpu:skylake']}}\n"
        )
    }

    async fn assemble(spec: &str, password: Option<&str>) -> anyhow::Result<Value> {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("spec.yaml");
        let password_file = dir.path().join("password");
        fs::write(&path, spec).unwrap();
        fs::write(&password_file, password.unwrap_or_default()).unwrap();
        let arguments = Arguments {
            spec: path,
            username: password.map(|_| "qnib".into()),
            password_file: password.map(|_| password_file),
            plain_http: false,
        };
        let (mut out, mut notes) = (Vec::new(), Vec::new());
        run(
            arguments,
            &mut Output::new(Format::Json, &mut out, &mut notes),
        )
        .await?;
        Ok(serde_json::from_slice(&out).unwrap())
    }

    #[tokio::test]
    async fn the_index_names_what_each_image_needs() {
        let (registry, set) = registry().await;
        registry.require_account("qnib", "secret");

        let assembled = assemble(&spec(&registry.address().to_string()), Some("secret"))
            .await
            .unwrap();

        let index = registry.manifest("qnib/bench", "1.0").unwrap();
        let entries: Value = serde_json::from_slice(&index).unwrap();
        assert_eq!(assembled["digest"], sha256(&index));
        assert_eq!(
            entries["manifests"][1]["digest"],
            set.images[1].manifest.digest
        );
        assert_eq!(
            entries["manifests"][1]["platform"]["features"][0],
            "cpu:skylake"
        );
        let copied = registry.manifest("qnib/bench", &set.images[1].manifest.digest);
        assert_eq!(copied, Some(set.images[1].manifest.bytes.clone()));
    }

    #[tokio::test]
    async fn a_registry_that_wants_a_token_gets_one_for_what_is_done() {
        let (registry, _) = registry().await;
        registry.require_token("qnib", "secret");
        let spec = spec(&registry.address().to_string());

        let refused = assemble(&spec, Some("wrong")).await;
        let assembled = assemble(&spec, Some("secret")).await.unwrap();

        assert!(refused.is_err());
        let index = registry.manifest("qnib/bench", "latest").unwrap();
        assert_eq!(assembled["digest"], sha256(&index));
        let requests = registry.requests();
        let shown = |prefix: &str, path: &str| {
            let mut alike = requests.iter().filter(|it| it.path.starts_with(path));
            alike.any(|it| {
                let given = it.headers.get("authorization");
                given.is_some_and(|given| given.as_bytes().starts_with(prefix.as_bytes()))
            })
        };
        assert!(shown("Basic ", "/token?") && shown("Bearer ", "/v2/"));
        assert!(!shown("Basic ", "/v2/"), "the password stays at the realm");
    }

    #[tokio::test]
    async fn an_index_within_an_index_is_refused() {
        let (registry, _) = registry().await;
        let spec = spec(&registry.address().to_string()).replace(":skylake\n", ":all\n");

        let error = assemble(&spec, None).await.unwrap_err();

        assert!(format!("{error:#}").contains("is an index"), "{error:#}");
        assert_eq!(registry.count(&Method::PUT, "/manifests/latest"), 0);
    }
}
