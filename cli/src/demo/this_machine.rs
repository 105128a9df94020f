//! The machine that the demo runs on, as a host of the demo.

use std::{path::Path, sync::Arc};

use anyhow::Context;
use metahub_host::detect::detect;
use metahub_policy::{CpuTable, Facts, Host, Index, MachineType, select};

use super::{
    TAG, USER,
    client::Client,
    image::{ImageSet, REPOSITORY},
};
use crate::{
    client::Client as Admin,
    record::{MachineType as Record, NewLogin},
};

const TYPE: &str = "this-machine";

/// This machine: its features and its login.
pub(super) struct ThisMachine {
    features: Vec<String>,
    login: NewLogin,
}

impl ThisMachine {
    /// Detects this machine's features and creates a type with them.
    pub(super) async fn set_up(admin: &Admin) -> anyhow::Result<Self> {
        let features = detect(Path::new("/"), &CpuTable::builtin())?.features;
        let machine_type = Record::for_linux(USER.into(), TYPE.into(), features.clone());
        let created = admin.create_type(machine_type, true, false).await?;
        Ok(Self {
            features,
            login: created.login.context("a new type has a login")?,
        })
    }

    /// Pulls from the worker at `url`. Returns a short text with the selected
    /// variant, and the reason against each other one.
    pub(super) async fn pull(&self, url: String, images: &ImageSet) -> anyhow::Result<String> {
        let client = Client::new(url, &self.login.name, &self.login.secret)?;
        let got = match client.pull(REPOSITORY, TAG).await {
            Ok(pulled) => match images.image(&pulled.digest) {
                Some(image) => format!("the variant {} ({})", image.variant, pulled.digest),
                None => pulled.digest,
            },
            // The machine's architecture is not among the demo's images.
            Err(error) => format!("no image: {error}"),
        };
        let features = self.features.join(" ");
        let mut text =
            format!("\nThis machine is {features}\nIt got {got}, since of the variants\n");
        for (variant, verdict) in self.verdicts(images)? {
            text += &format!("  {variant} {verdict}\n");
        }
        Ok(text)
    }

    /// Each variant with selection's verdict on it.
    fn verdicts(&self, images: &ImageSet) -> anyhow::Result<Vec<(String, String)>> {
        let machine_type = MachineType {
            features: self.features.clone(),
            ..MachineType::default()
        };
        let host = Host::new(machine_type, Arc::clone(&CpuTable::builtin()))?;
        let index = Index::parse(&images.index.bytes)?;
        let selection = select(&host, &index, Facts::default());
        let variants = images.images.iter().map(|image| image.variant.clone());
        let verdicts = selection.verdicts.iter().map(ToString::to_string);
        Ok(variants.zip(verdicts).collect())
    }
}
