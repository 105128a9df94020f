//! Benchmark of the node proxy: CPU time for each GB of a blob and for each
//! small answer, beside nginx with `proxy_pass` in the same run.
//!
//! ```sh
//! cargo build --release --bins && cargo bench -p metahub-tests --bench node-proxy
//! ```
//!
//! Another nginx serves the files in the place of the workers' balancer, once
//! with TLS and once without. The proxies run on the first core, one at a time;
//! clients and file servers run on the second.

#[path = "node_proxy/nginx.rs"]
mod nginx;

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use metahub_tests::{
    admin::Login,
    authority::Authority,
    invocation::run,
    node::{NodeProcess, credential},
    swarm::{cpu_time, memory_kib},
    wait::eventually,
};

use self::nginx::{BLOB_BYTES, Buffers, Nginx};

/// The number of turns of each proxy.
const ROUNDS: usize = 5;
/// The number of blob pulls in a turn.
const BLOBS: u32 = 8;
const SECONDS: &str = "-d3s";

/// A proxy, with its measurements.
struct Proxy {
    name: String,
    pid: u32,
    addr: SocketAddr,
    turns: Vec<Turn>,
}

/// The measurements of one turn.
#[derive(Clone, Copy)]
struct Turn {
    cpu_s_per_gb: f64,
    gb_per_s: f64,
    requests_per_s: f64,
    cpu_us_per_request: f64,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let authority = Authority::new();
    for is_tls in [false, true] {
        let origin = Nginx::files(is_tls.then_some(&authority));
        let mut with_login = credential(&origin.url(), &login());
        with_login.registry_ca_pem = Some(authority.pem());
        let node = NodeProcess::start_as(&with_login, &[]).await;
        let tuned = Nginx::proxy(&origin.url(), Buffers::Tuned);
        let plain = Nginx::proxy(&origin.url(), Buffers::Default);
        let scheme = if is_tls { "https" } else { "http" };
        let mut proxies = [
            proxy("metahub-node", scheme, node.pid(), node.addr()),
            proxy(
                "nginx, buffers of 64 KiB",
                scheme,
                tuned.pid(),
                tuned.addr(),
            ),
            proxy("nginx, its defaults", scheme, plain.pid(), plain.addr()),
        ];
        pin(origin.pid(), "1").await;
        for proxy in &proxies {
            proxy.settle().await;
            pin(proxy.pid, "0").await;
        }
        for _ in 0..ROUNDS {
            for proxy in &mut proxies {
                let turn = proxy.turn().await;
                proxy.turns.push(turn);
            }
        }
        io::stdout().write_all(table(&proxies).as_bytes())?;
    }
    Ok(())
}

fn login() -> Login {
    Login {
        name: "qnib-type1~node1".into(),
        secret: "a secret of no weight".into(),
    }
}

fn proxy(name: &str, scheme: &str, pid: u32, addr: SocketAddr) -> Proxy {
    Proxy {
        name: format!("{name}, {scheme}"),
        pid,
        addr,
        turns: Vec::new(),
    }
}

async fn pin(pid: u32, core: &str) {
    let args = ["-a", "-c", "-p", core, &pid.to_string()];
    run(Path::new("taskset"), args).await.text();
}

impl Proxy {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    async fn settle(&self) {
        let url = self.url(nginx::MANIFEST);
        eventually(&self.name, async || {
            let answer = reqwest::get(&url).await;
            answer.is_ok_and(|it| it.status().is_success())
        })
        .await;
    }

    async fn turn(&self) -> Turn {
        let (before, began) = (cpu_time(self.pid), Instant::now());
        self.pull_blobs().await;
        let (cpu, took) = (cpu_time(self.pid) - before, began.elapsed());
        let gb = f64::from(BLOBS) * BLOB_BYTES as f64 / 1e9;
        let before = cpu_time(self.pid);
        let requests = self.ask().await;
        let cpu_of_requests: Duration = cpu_time(self.pid) - before;
        Turn {
            cpu_s_per_gb: cpu.as_secs_f64() / gb,
            gb_per_s: gb / took.as_secs_f64(),
            requests_per_s: requests / 3.0,
            cpu_us_per_request: cpu_of_requests.as_secs_f64() * 1e6 / requests,
        }
    }

    /// Pulls the blob a few times on one connection.
    async fn pull_blobs(&self) {
        let url = self.url(nginx::BLOB);
        let mut args = vec!["-c", "1", "curl", "--silent", "--fail"];
        for _ in 0..BLOBS {
            args.extend(["--output", "/dev/null", &url]);
        }
        run(Path::new("taskset"), args).await.text();
    }

    /// Requests a small file for three seconds; returns the number of requests.
    async fn ask(&self) -> f64 {
        let url = self.url(nginx::MANIFEST);
        let args = ["-c", "1", "wrk", "-t1", "-c32", SECONDS, &url];
        let text = run(Path::new("taskset"), args).await.text();
        assert!(!text.contains("Non-2xx"), "{} refuses\n{text}", self.name);
        let (head, _) = text.split_once(" requests in").expect("wrk counts");
        let number = head.split_whitespace().next_back();
        number.and_then(|it| it.parse().ok()).expect("a number")
    }

    /// The median of the turns, by `key`.
    fn median(&self, key: impl Fn(&Turn) -> f64) -> f64 {
        let mut values: Vec<f64> = self.turns.iter().map(key).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }
}

/// The results as a Markdown table. The second row is the base of the ratios.
fn table(proxies: &[Proxy]) -> String {
    let mut text = String::from(
        "| proxy | CPU s/GB | ratio | GB/s | CPU µs/request | ratio | requests/s | RSS MiB |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let base = &proxies[1];
    for it in proxies {
        let per_gb = |it: &Proxy| it.median(|turn| turn.cpu_s_per_gb);
        let per_request = |it: &Proxy| it.median(|turn| turn.cpu_us_per_request);
        let _ = writeln!(
            text,
            "| {} | {:.3} | {:.2} | {:.2} | {:.1} | {:.2} | {:.0} | {:.1} |",
            it.name,
            per_gb(it),
            per_gb(it) / per_gb(base),
            it.median(|turn| turn.gb_per_s),
            per_request(it),
            per_request(it) / per_request(base),
            it.median(|turn| turn.requests_per_s),
            memory_kib(it.pid)[0] as f64 / 1024.0,
        );
    }
    text + "\n"
}
