//! `metahubctl type plan`: plans the smallest set of machine types for the
//! hosts of a fleet, from files or from the joined hosts.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, ensure};
use metahub_control::{Declaration, DeclaredType, DeclaredUser};
use metahub_policy::{
    CpuTable, Plan, PlanRules, PlannedHost, PlannedType, list_names, plan, read_inventory,
};
use serde::Serialize;

use crate::{
    client::Client,
    config::Settings,
    output::{Output, Row, table},
};

/// The size limit of one file, in bytes.
const LARGEST_FILE: u64 = 1 << 30;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The file with the hosts, `-` for stdin; repeatable: the output of
    /// `kubectl get nodes -o json`, of `kubectl get resourceslices -o json` or,
    /// for each host, of `metahubctl host detect -o json`.
    #[arg(long, value_name = "FILE", required_unless_present = "from_hosts")]
    from_nodes: Vec<PathBuf>,

    /// Plan for the hosts that have joined, of --user or of all users.
    #[arg(long)]
    from_hosts: bool,

    /// The user of the planned types; `-o policy` needs it.
    #[arg(long)]
    user: Option<String>,

    /// The namespaces whose values distinguish types.
    #[arg(
        long,
        value_name = "NAMESPACE",
        value_delimiter = ',',
        default_value = "cpu,nvcap,gfx,net"
    )]
    by: Vec<String>,

    /// The handling of minimum versions, such as `nvdrv`: give a type its
    /// hosts' lowest, or distinguish types by them.
    #[arg(long, value_enum, default_value_t)]
    floors: Floors,

    /// Mark types with fewer hosts than this.
    #[arg(long, value_name = "COUNT", default_value_t = 2)]
    min_hosts: usize,
}

/// The handling of minimum versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Floors {
    /// Give a type the lowest version of its hosts.
    #[default]
    Min,
    /// Make a type for each version.
    Exact,
}

pub(crate) async fn run(
    arguments: &Arguments,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    ensure!(
        !output.is_policy() || arguments.user.is_some(),
        "the policy needs a user that owns the types: give --user NAME"
    );
    let mut cpus = CpuTable::builtin();
    let mut hosts = Vec::new();
    if arguments.from_hosts {
        let client = Client::connect(settings).await?;
        cpus = Arc::clone(&client.policy().await?.cpus);
        let joined = client.hosts(arguments.user.as_deref()).await?;
        hosts.extend(joined.into_iter().map(|host| PlannedHost {
            name: host.id,
            features: host.features,
            ..PlannedHost::default()
        }));
        ensure!(
            !(hosts.is_empty() && arguments.from_nodes.is_empty()),
            "no host has joined: see `metahubctl host token create`"
        );
    }
    for path in &arguments.from_nodes {
        let inventory = read_inventory(&read(path)?, &cpus);
        let wrong = || format!("{} cannot be used", path.display());
        let inventory = inventory.with_context(wrong)?;
        output.warn(&inventory.warnings);
        hosts.extend(inventory.hosts);
    }
    print(&hosts, arguments, &cpus, output)
}

fn print(
    hosts: &[PlannedHost],
    arguments: &Arguments,
    cpus: &CpuTable,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let rules = PlanRules {
        by: arguments.by.clone(),
        exact_floors: arguments.floors == Floors::Exact,
        min_hosts: arguments.min_hosts,
    };
    let plan = plan(hosts, &rules, cpus);
    let ignored = plan.ignored.iter();
    let ignored: Vec<_> = ignored
        .map(|it| match it.hosts {
            1 => format!("{}: {}; left out", it.host, it.reason),
            more => format!("{} and {} more: {}; left out", it.host, more - 1, it.reason),
        })
        .collect();
    output.warn(&ignored);
    if output.is_policy() {
        let user = arguments.user.as_deref().unwrap_or_default();
        output.text(&policy(&plan, user)?)?;
    } else {
        output.record(&plan, &text(&plan))?;
    }
    let (types, hosts) = (counted(plan.types.len(), "type"), hosts.len());
    output.note(&format!("{types} for {}.", counted(hosts, "host")));
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let wrong = || format!("cannot read {}", path.display());
    let mut bytes = Vec::new();
    let source: &mut dyn Read = match path == Path::new("-") {
        true => &mut io::stdin().lock(),
        false => &mut File::open(path).with_context(wrong)?,
    };
    let read = source.take(LARGEST_FILE + 1).read_to_end(&mut bytes);
    let read = read.with_context(wrong)?;
    ensure!(
        read as u64 <= LARGEST_FILE,
        "{} has more than 1 GiB: split it, for example by a label selector of kubectl",
        path.display()
    );
    Ok(bytes)
}

/// A file for `metahubctl apply`: the types, each with its notes as a comment.
fn policy(plan: &Plan, user: &str) -> anyhow::Result<String> {
    let types = plan.types.iter().map(|planned| DeclaredType {
        name: planned.name.clone(),
        os: Some(planned.machine_type.os.clone()).filter(|os| os != "linux"),
        architecture: planned.machine_type.architecture.clone(),
        features: planned.machine_type.features.clone(),
        ..DeclaredType::default()
    });
    let declaration = Declaration {
        users: vec![DeclaredUser {
            name: user.to_owned(),
            types: types.collect(),
            ..DeclaredUser::default()
        }],
        ..Declaration::default()
    };
    let comments = plan.types.iter().flat_map(|planned| {
        let hosts = counted(planned.hosts.len(), "host");
        let names = list_names(&planned.hosts);
        let head = format!("# {}: {hosts}: {names}\n", planned.name);
        let notes = notes(planned).into_iter();
        std::iter::once(head).chain(notes.map(|note| format!("#   {note}\n")))
    });
    let comments: String = comments.collect();
    let yaml = serde_saphyr::to_string(&declaration).context("cannot write YAML")?;
    Ok(format!("{comments}{yaml}"))
}

fn text(plan: &Plan) -> String {
    let rows: Vec<_> = plan.types.iter().map(TypeRow).collect();
    let notes = plan.types.iter().flat_map(|planned| {
        let notes = notes(planned).into_iter();
        notes.map(|note| format!("{}: {note}\n", planned.name))
    });
    let notes: String = notes.collect();
    match notes.is_empty() {
        true => table(&rows),
        false => format!("{}\n\n{notes}", table(&rows)),
    }
}

/// The notes on a type, apart from its features.
fn notes(planned: &PlannedType) -> Vec<String> {
    let mut notes = Vec::new();
    for floor in &planned.floors {
        let (namespace, least, most) = (&floor.namespace, &floor.least, &floor.most);
        if !floor.untold_by.is_empty() {
            notes.push(format!(
                "{} no {namespace}, so the type has none: {}",
                acting(floor.untold_by.len(), ["tells", "tell"]),
                list_names(&floor.untold_by)
            ));
        } else if !floor.held_back_by.is_empty() {
            notes.push(format!(
                "{} {namespace} back at {least}, others have up to {most}: {}",
                acting(floor.held_back_by.len(), ["holds", "hold"]),
                list_names(&floor.held_back_by)
            ));
        }
    }
    if planned.small {
        let hosts = counted(planned.hosts.len(), "host");
        notes.push(format!(
            "a small type, of {hosts}: {}",
            list_names(&planned.hosts)
        ));
    }
    notes
}

/// `1 host holds`, `2 hosts hold`.
fn acting(hosts: usize, verb: [&str; 2]) -> String {
    let verb = verb[usize::from(hosts != 1)];
    format!("{} {verb}", counted(hosts, "host"))
}

/// `1 host`, `2 hosts`.
fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        more => format!("{more} {what}s"),
    }
}

/// A planned type for people.
#[derive(Serialize)]
struct TypeRow<'a>(&'a PlannedType);

impl Row for TypeRow<'_> {
    const COLUMNS: &'static [&'static str] = &["TYPE", "HOSTS", "FEATURES", "VERSIONS OF HOSTS"];

    fn cells(&self) -> Vec<String> {
        let shape = &self.0.machine_type;
        let mut features = Vec::from_iter(shape.architecture.clone());
        features.extend(shape.features.clone());
        let floors = self.0.floors.iter();
        let floors = floors.map(|floor| match floor.least == floor.most {
            true => format!("{} {}", floor.namespace, floor.least),
            false => format!("{} {} to {}", floor.namespace, floor.least, floor.most),
        });
        vec![
            self.0.name.clone(),
            self.0.hosts.len().to_string(),
            features.join(" "),
            floors.collect::<Vec<_>>().join(", "),
        ]
    }
}
