//! A Slurm cluster for one test: munged, slurmctld, and a slurmd on each host.

use std::{
    fmt::Write as _,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use tempfile::TempDir;

use crate::{
    invocation::{Outcome, run},
    parts::{Host, Network, answers, own_hostname, own_namespaces},
    process::Process,
    program::Program,
    wait::eventually,
};

const MUNGED: Program = Program {
    name: "munged",
    install: "install the Debian package munge",
};
const SLURMCTLD: Program = Program {
    name: "slurmctld",
    install: "install the Debian package slurmctld",
};
const SLURMD: Program = Program {
    name: "slurmd",
    install: "install the Debian package slurmd",
};
const SRUN: Program = Program {
    name: "srun",
    install: "install the Debian package slurm-client",
};

/// A cluster of hosts on joined networks. The controller is on the first.
#[derive(Debug)]
pub struct Slurm {
    _nodes: Vec<Process>,
    _controller: Process,
    _munge: Process,
    network: Arc<Network>,
    dir: TempDir,
}

impl Slurm {
    /// Starts a cluster and waits until all nodes are idle. The nodes are
    /// called `node0`, `node1`, and so on.
    pub async fn start(hosts: &[Host]) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        fs::write(dir.path().join("slurm.conf"), config(dir.path(), hosts))
            .expect("it can be written");
        let munge = start_munge(dir.path()).await;
        let network = hosts[0].network();
        let args = vec![
            "-D".to_owned(),
            "-f".to_owned(),
            file(dir.path(), "slurm.conf"),
        ];
        let start = |network: &Network, name: &str, program: &Path, args: Vec<String>| {
            let (program, args) = own_hostname(name, program, args);
            let (program, args) = network.enter(program, args);
            Process::start(name, &program, args, dir.path())
        };
        let controller = start(&network, "controller", &SLURMCTLD.path(), args.clone());
        let nodes = hosts.iter().enumerate().map(|(n, host)| {
            let (program, args) = own_namespaces(&SLURMD.path(), args.clone());
            start(&host.network(), &format!("node{n}"), &program, args)
        });
        let slurm = Self {
            _nodes: nodes.collect(),
            _controller: controller,
            _munge: munge,
            network,
            dir,
        };
        let size = hosts.len().to_string();
        eventually("all nodes of Slurm take jobs", async || {
            let args = ["--immediate=1", "--nodes", &size, "true"];
            slurm.srun(&args).await.status.success()
        })
        .await;
        slurm
    }

    /// Runs srun on the first host.
    pub async fn srun(&self, args: &[&str]) -> Outcome {
        let conf = format!("SLURM_CONF={}", file(self.dir.path(), "slurm.conf"));
        let mut all = vec![conf, SRUN.path().display().to_string()];
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        let (program, args) = self.network.enter(PathBuf::from("env"), all);
        run(&program, args).await
    }
}

fn file(dir: &Path, name: &str) -> String {
    dir.join(name).display().to_string()
}

async fn start_munge(dir: &Path) -> Process {
    let key = dir.join("munge.key");
    fs::write(&key, [7; 128]).expect("it can be written");
    fs::set_permissions(&key, Permissions::from_mode(0o400)).expect("it is ours");
    let mut args = vec!["--foreground".to_owned(), "--force".to_owned()];
    for (flag, name) in [
        ("key-file", "munge.key"),
        ("socket", "munge.socket"),
        ("pid-file", "munged.pid"),
        ("seed-file", "munged.seed"),
        ("log-file", "munge-own.log"),
    ] {
        args.push(format!("--{flag}={}", file(dir, name)));
    }
    let mut munge = Process::start("munged", &MUNGED.path(), args, dir);
    let socket = dir.join("munge.socket");
    answers(&mut munge, async || socket.exists()).await;
    munge
}

fn config(dir: &Path, hosts: &[Host]) -> String {
    let place = dir.display();
    let mut text = format!(
        "ClusterName=test\nSlurmctldHost=controller({})\nSlurmUser=root\n\
         AuthType=auth/munge\nAuthInfo=socket={place}/munge.socket\nCredType=cred/munge\n\
         StateSaveLocation={place}/state\nSlurmdSpoolDir={place}/spool.%n\n\
         SlurmctldPidFile={place}/slurmctld.pid\nSlurmdPidFile={place}/slurmd.%n.pid\n\
         ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nSelectType=select/linear\n\
         JobAcctGatherType=jobacct_gather/none\nAccountingStorageType=accounting_storage/none\n\
         MpiDefault=none\nSwitchType=switch/none\nReturnToService=2\n",
        hosts[0].addr(),
    );
    for (n, host) in hosts.iter().enumerate() {
        let addr = host.addr();
        let _ = writeln!(
            text,
            "NodeName=node{n} NodeAddr={addr} NodeHostname=node{n}"
        );
    }
    text + "PartitionName=all Nodes=ALL Default=YES\n"
}
