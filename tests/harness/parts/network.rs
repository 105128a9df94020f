//! The networks that docker daemons and far workers of tests are in.

use std::{
    ffi::OsStr,
    fmt::Debug,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU16, Ordering},
};

use crate::program::Program;

const IP: Program = Program {
    name: "ip",
    install: "install the Debian package iproute2",
};

const IPTABLES: Program = Program {
    name: "iptables",
    install: "install the Debian package iptables",
};

/// Where the networks are, of 16 addresses each, and how many there can be.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 0);
const COUNT: u32 = 1 << 19;

/// A network of its own. Gone when it is dropped.
#[derive(Debug)]
pub struct Network {
    /// Its name, which is also that of this machine's end of it.
    name: String,
    /// This machine's address in it, the first of four.
    addr: Ipv4Addr,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A bridge, so that the daemon leaves those of others alone.
    Bridge,
    /// A namespace, joined to this machine by a cable.
    Namespace,
}

impl Network {
    /// This machine's own network: the daemon reaches loopback, but what its
    /// containers reach is up to this machine.
    pub(super) fn shared() -> Self {
        let network = Self::fresh(Kind::Bridge);
        let Self { name, addr, .. } = &network;
        ip(&["link", "add", "name", name, "type", "bridge"]);
        ip(&["addr", "add", &format!("{addr}/28"), "dev", name]);
        ip(&["link", "set", name, "up"]);
        network
    }

    /// A network as on another machine: its own loopback, its own firewall.
    pub fn apart() -> Self {
        let network = Self::fresh(Kind::Namespace);
        let Self { name, addr, .. } = &network;
        let far = format!("{}/28", network.far());
        ip(&["netns", "add", name]);
        ip(&[
            "link", "add", name, "type", "veth", "peer", "cable", "netns", name,
        ]);
        ip(&["addr", "add", &format!("{addr}/28"), "dev", name]);
        ip(&["link", "set", name, "up"]);
        ip(&["-netns", name, "addr", "add", &far, "dev", "cable"]);
        ip(&["-netns", name, "link", "set", "cable", "up"]);
        ip(&["-netns", name, "link", "set", "lo", "up"]);
        network
    }

    /// Joins two networks apart by a cable of their own, which this machine has
    /// no part in.
    pub fn join(&self, other: &Self) {
        let (this, that) = (&self.name, &other.name);
        ip(&[
            "-netns", this, "link", "add", that, "type", "veth", "peer", this, "netns", that,
        ]);
        for (near, far) in [(self, other), (other, self)] {
            let (from, to) = (near.far().to_string(), format!("{}/32", far.far()));
            ip(&["-netns", &near.name, "link", "set", &far.name, "up"]);
            ip(&[
                "-netns", &near.name, "route", "add", &to, "dev", &far.name, "src", &from,
            ]);
        }
    }

    fn fresh(kind: Kind) -> Self {
        sweep();
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        // Processes of today are apart by more networks than each has.
        let place = pid.wrapping_mul(97).wrapping_add(n.into()) % COUNT;
        Self {
            name: format!("mh{pid}x{n}"),
            addr: Ipv4Addr::from(FIRST.to_bits() + place * 16 + 1),
            kind,
        }
    }

    /// This machine's address, as those in the network see it.
    pub fn addr(&self) -> Ipv4Addr {
        self.addr
    }

    /// The address of those in a network apart.
    pub fn far(&self) -> Ipv4Addr {
        let [a, b, c, d] = self.addr.octets();
        Ipv4Addr::new(a, b, c, d + 1)
    }

    /// Drops this part, from 0 to 1, of the packets between `port` of this
    /// machine and a network apart. In the place of what was dropped before.
    pub fn lose(&self, part: f64, port: u16) {
        self.iptables(&["-F"]);
        let (port, part) = (port.to_string(), part.to_string());
        for (chain, side) in [("INPUT", "--sport"), ("OUTPUT", "--dport")] {
            let mut rule = vec!["-A", chain, "-p", "tcp", side, &port];
            rule.extend(["-m", "statistic", "--mode", "random"]);
            rule.extend(["--probability", &part, "-j", "DROP"]);
            self.iptables(&rule);
        }
    }

    /// Drops all packets between a network apart and those that it was joined
    /// with. This machine still reaches it.
    pub fn part(&self) {
        self.drop_all_of("mh+");
    }

    /// Drops all packets between a network apart and anyone.
    pub fn cut_off(&self) {
        self.drop_all_of("mh+");
        self.drop_all_of("cable");
    }

    fn drop_all_of(&self, cable: &str) {
        self.iptables(&["-A", "INPUT", "-i", cable, "-j", "DROP"]);
        self.iptables(&["-A", "OUTPUT", "-o", cable, "-j", "DROP"]);
    }

    /// Drops no packet any more.
    pub fn heal(&self) {
        self.iptables(&["-F"]);
    }

    /// How many packets were dropped since it began to lose them.
    pub fn dropped(&self) -> u64 {
        let rules = self.iptables(&["-nvxL"]);
        let rules = rules.lines().map(|it| it.split_whitespace().collect());
        let drops = rules.filter(|rule: &Vec<_>| rule.get(2) == Some(&"DROP"));
        let packets = drops.map(|rule| rule[0].parse::<u64>().expect("a count"));
        packets.sum()
    }

    fn iptables(&self, args: &[&str]) -> String {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let (program, args) = self.enter(IPTABLES.path(), args);
        run(&program, &args)
    }

    /// What dockerd must be told to stay in it.
    pub(super) fn daemon_flags(&self) -> Vec<String> {
        match self.kind {
            Kind::Bridge => vec![
                format!("--bridge={}", self.name),
                "--iptables=false".into(),
                "--ip-forward=false".into(),
                "--ip-masq=false".into(),
                "--userland-proxy=false".into(),
            ],
            Kind::Namespace => Vec::new(),
        }
    }

    /// The program that runs another in it, with the arguments for that.
    pub fn enter(&self, program: PathBuf, args: Vec<String>) -> (PathBuf, Vec<String>) {
        match self.kind {
            Kind::Bridge => (program, args),
            Kind::Namespace => {
                let mut all = vec![format!("--net=/run/netns/{}", self.name)];
                all.push(program.display().to_string());
                all.extend(args);
                ("nsenter".into(), all)
            }
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let noun = match self.kind {
            Kind::Bridge => "link",
            Kind::Namespace => "netns",
        };
        let _ = Command::new(Path::new(IP.name))
            .args([noun, "delete", &self.name])
            .status();
    }
}

/// Deletes the networks of tests that were killed.
fn sweep() {
    for (place, noun) in [("/run/netns", "netns"), ("/sys/class/net", "link")] {
        let entries = fs::read_dir(place).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        for name in names.filter(|name| is_left_behind(name)) {
            let _ = Command::new(IP.name).args([noun, "delete", &name]).status();
        }
    }
}

/// Whether `name` is that of a network whose test has ended.
fn is_left_behind(name: &str) -> bool {
    let numbers = name
        .strip_prefix("mh")
        .and_then(|rest| rest.split_once('x'));
    numbers.is_some_and(|(pid, n)| {
        n.parse::<u16>().is_ok()
            && pid.parse::<u32>().is_ok()
            && !Path::new("/proc").join(pid).exists()
    })
}

fn ip(args: &[&str]) {
    run(&IP.path(), args);
}

/// Runs it to its end, and returns what it prints.
fn run(program: &Path, args: &[impl AsRef<OsStr> + Debug]) -> String {
    let done = Command::new(program).args(args).output();
    let done = done.expect("it starts");
    assert!(
        done.status.success(),
        "this test must run as root; {} {args:?}: {}",
        program.display(),
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8_lossy(&done.stdout).into_owned()
}
