//! What `image explain` prints.

use serde::Serialize;

use crate::{
    explain::{
        needs::{Needs, Service, Standing},
        outcome::{Form, Outcome, Reason, Variant},
    },
    output::{Row, table},
};

/// Every machine type, and what it gets.
#[derive(Debug, Serialize)]
pub(super) struct Overview {
    pub(super) image: String,
    /// What the tag means at the upstream.
    pub(super) digest: String,
    /// The names of the rules that apply.
    pub(super) rules: Vec<String>,
    pub(super) variants: Vec<Variant>,
    pub(super) types: Vec<TypeOutcome>,
}

/// One machine type, and what it gets.
#[derive(Debug, Serialize)]
pub(super) struct Detail {
    pub(super) image: String,
    pub(super) digest: String,
    pub(super) rules: Vec<String>,
    #[serde(flatten)]
    pub(super) machine_type: TypeOutcome,
}

/// What a machine type gets, and whose it is.
#[derive(Debug, Serialize)]
pub(super) struct TypeOutcome {
    pub(super) user: String,
    #[serde(rename = "type")]
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
}

/// The hosts that get each variant, and how the machine types are served.
#[derive(Debug, Serialize)]
pub(super) struct NeedsOf {
    pub(super) image: String,
    pub(super) digest: String,
    pub(super) variants: Vec<Needs>,
    pub(super) types: Vec<Standing>,
}

/// A row of a table for people only.
#[derive(Serialize)]
struct Gets([String; 4]);

#[derive(Serialize)]
struct WhyNot([String; 3]);

#[derive(Serialize)]
struct HostsOf([String; 3]);

#[derive(Serialize)]
struct Served([String; 5]);

impl Overview {
    pub(super) fn text(&self) -> String {
        let mut parts = vec![head(&self.image, &self.digest, &self.rules)];
        if self.variants.is_empty() {
            parts.push("It is one image: every type gets it as it is.\n".into());
            return parts.concat();
        }
        parts.push(table(&self.variants));
        parts.push("\n\n".into());
        let gets: Vec<_> = self.types.iter().map(TypeOutcome::gets).collect();
        parts.push(table(&gets));
        let why: Vec<_> = self.types.iter().flat_map(TypeOutcome::why_not).collect();
        if !why.is_empty() {
            parts.push(format!("\n\n{}", table(&why)));
        }
        let pins = self.types.iter().filter_map(TypeOutcome::pin);
        parts.extend(pins);
        parts.concat()
    }
}

impl Detail {
    pub(super) fn text(&self) -> String {
        let it = &self.machine_type;
        let mut parts = vec![head(&self.image, &self.digest, &self.rules)];
        parts.push(match &it.outcome.answer.gets {
            Some(digest) => format!("{} gets {digest} ({}).\n", it.path(), it.form()),
            None => format!("{} gets nothing.\n", it.path()),
        });
        if let Some(refusal) = &it.outcome.answer.refusal {
            parts.push(format!("{refusal}\n"));
        }
        parts.extend(it.pin());
        if !it.outcome.reasons.is_empty() {
            parts.push(format!("\n{}", table(&it.outcome.reasons)));
        }
        parts.concat()
    }
}

impl NeedsOf {
    pub(super) fn text(&self) -> String {
        let mut parts = vec![head(&self.image, &self.digest, &[])];
        if self.variants.is_empty() {
            parts.push("It is one image: every host gets it as it is.\n".into());
            return parts.concat();
        }
        let hosts: Vec<_> = self.variants.iter().flat_map(hosts).collect();
        parts.push(table(&hosts));
        if !self.types.is_empty() {
            let served: Vec<_> = self.types.iter().flat_map(served).collect();
            parts.push(format!("\n\n{}", table(&served)));
        }
        parts.concat()
    }
}

impl TypeOutcome {
    fn path(&self) -> String {
        format!("{}/{}", self.user, self.name)
    }

    /// In what form, in words.
    fn form(&self) -> &'static str {
        match self.outcome.answer.form {
            Form::Image => "an image",
            Form::Source => "the whole index",
            Form::TrimmedIndex => "a trimmed index",
            Form::Passthrough => "the whole index: nothing fits",
            Form::Nothing => "-",
        }
    }

    fn gets(&self) -> Gets {
        let digest = &self.outcome.answer.gets;
        let kept: Vec<_> = self.outcome.images().map(requirements).collect();
        Gets([
            self.path(),
            digest.clone().unwrap_or_else(|| "nothing".into()),
            self.form().into(),
            match kept.as_slice() {
                [] => "-".into(),
                some => some.join("; "),
            },
        ])
    }

    /// Why it does not get the others. Attestations go without saying.
    fn why_not(&self) -> impl Iterator<Item = WhyNot> {
        let left = self.outcome.reasons.iter();
        let left = left.filter(|reason| !reason.kept && reason.is_image);
        left.map(|reason| {
            WhyNot([
                self.path(),
                short(&reason.variant.digest).into(),
                reason.reason.clone(),
            ])
        })
    }

    fn pin(&self) -> Option<String> {
        let pin = self.outcome.pin.as_ref()?;
        Some(format!("\n{}: {pin}\n", self.path()))
    }
}

fn head(image: &str, digest: &str, rules: &[String]) -> String {
    let rules = match rules {
        [] => String::new(),
        some => format!("  rules   {}\n", some.join(" ")),
    };
    format!("  image   {image}\n  source  {digest}\n{rules}\n")
}

fn hosts(needs: &Needs) -> Vec<HostsOf> {
    let row = |hosts: String| {
        let variant = &needs.variant;
        HostsOf([variant.digest.clone(), variant.place(), hosts])
    };
    if let Some(never) = &needs.never {
        return vec![row(format!("no host: {never}"))];
    }
    let set = |features: &Vec<String>| match features.as_slice() {
        [] => "any".to_owned(),
        some => some.join(" "),
    };
    needs
        .hosts
        .iter()
        .map(|features| row(set(features)))
        .collect()
}

fn served(standing: &Standing) -> Vec<Served> {
    let path = match standing.user.as_str() {
        "" => standing.name.clone(),
        user => format!("{user}/{}", standing.name),
    };
    let gets: Vec<_> = standing.kept.iter().map(|digest| short(digest)).collect();
    let row = |service: &str, better: &str, reason: &str| {
        let cells = [&path, service, &gets.join(" "), better, reason];
        Served(cells.map(|cell| if cell.is_empty() { "-" } else { cell }.to_owned()))
    };
    match standing.standing {
        Service::Best => vec![row("best", "", "")],
        Service::Nothing => vec![row("nothing", "", "")],
        Service::Fallback => {
            let better = standing.better.iter();
            better
                .map(|better| row("fallback", short(&better.digest), &better.reason))
                .collect()
        }
    }
}

fn requirements(variant: &Variant) -> String {
    match variant.requirements.as_slice() {
        [] => "no requirements".into(),
        some => some.join(" "),
    }
}

/// A digest's beginning, enough to tell it from others.
fn short(digest: &str) -> &str {
    let end = digest.find(':').map_or(12, |colon| colon + 13);
    digest.get(..end).unwrap_or(digest)
}

impl Variant {
    fn place(&self) -> String {
        match self.platform.as_str() {
            "" => "any other".into(),
            platform => platform.into(),
        }
    }
}

impl Row for Variant {
    const COLUMNS: &'static [&'static str] = &["DIGEST", "PLATFORM", "REQUIREMENTS", "PRIORITY"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.digest.clone(),
            self.platform.clone(),
            match self.requirements.as_slice() {
                [] => "-".into(),
                some => some.join(" "),
            },
            self.priority.to_string(),
        ]
    }
}

impl Row for Reason {
    const COLUMNS: &'static [&'static str] =
        &["DIGEST", "PLATFORM", "REQUIREMENTS", "KEPT", "REASON"];

    fn cells(&self) -> Vec<String> {
        let mut cells = self.variant.cells();
        cells.pop();
        cells.push(if self.kept { "yes" } else { "no" }.into());
        cells.push(self.reason.clone());
        cells
    }
}

impl Row for Gets {
    const COLUMNS: &'static [&'static str] = &["TYPE", "GETS", "AS", "THAT NEEDS"];

    fn cells(&self) -> Vec<String> {
        self.0.to_vec()
    }
}

impl Row for WhyNot {
    const COLUMNS: &'static [&'static str] = &["TYPE", "DOES NOT GET", "BECAUSE IT"];

    fn cells(&self) -> Vec<String> {
        self.0.to_vec()
    }
}

impl Row for HostsOf {
    const COLUMNS: &'static [&'static str] = &["VARIANT", "PLATFORM", "GOES TO HOSTS WITH"];

    fn cells(&self) -> Vec<String> {
        self.0.to_vec()
    }
}

impl Row for Served {
    const COLUMNS: &'static [&'static str] = &["TYPE", "SERVED", "GETS", "BETTER", "BUT IT"];

    fn cells(&self) -> Vec<String> {
        self.0.to_vec()
    }
}
