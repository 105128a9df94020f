//! A disk that is full under the SQLite store.

use std::{fs, io::Write as _, path::Path, process::Command, time::Duration};

use metahub_proto::admin::v1 as pb;
use metahub_tests::{
    admin::{Admin, Login},
    client::RegistryClient,
    control::{ControlProcess, Place},
    worker::{Ports, WorkerProcess, readiness},
};
use tonic::Code;

const WORKERS: usize = 2;
/// How long workers may be behind once there is room again.
const SOON: Duration = Duration::from_secs(5);

/// A small file system in memory. Unmounted when dropped.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(at: &'a Path) -> Self {
        run("mount", &["-t", "tmpfs", "-o", "size=2m", "tmpfs"], at);
        Self(at)
    }

    /// Leaves room for this many bytes.
    fn fill(&self, room: usize) {
        fs::write(self.filler(), vec![0; (2 << 20) - room]).expect("there is room");
    }

    /// Leaves no room at all: what one change left over may do for another.
    fn fill_whole(&self) {
        let filler = fs::File::options().append(true).open(self.filler());
        let mut filler = filler.expect("it was filled");
        while filler.write_all(&[0; 4 << 10]).is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.filler()).expect("it was filled");
    }

    fn filler(&self) -> std::path::PathBuf {
        self.0.join("filler")
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        run("umount", &["--lazy"], self.0);
    }
}

fn run(program: &str, args: &[&str], path: &Path) {
    let status = Command::new(program).args(args).arg(path).status();
    assert!(status.expect("it runs").success(), "{program} {args:?}");
}

async fn create_user(admin: &mut Admin, name: &str) -> Result<(), Code> {
    let request = pb::CreateUserRequest {
        name: name.into(),
        password: String::new(),
    };
    let created = admin.client().create_user(request).await;
    created.map(|_| ()).map_err(|status| status.code())
}

/// Creates users until one is refused, and says which were created.
async fn fill_up(admin: &mut Admin) -> (Vec<String>, Code) {
    let mut kept = Vec::new();
    loop {
        let name = format!("user{}", kept.len());
        match create_user(admin, &name).await {
            Ok(()) => kept.push(name),
            Err(code) => return (kept, code),
        }
    }
}

async fn start_workers(control: &Place) -> Vec<WorkerProcess> {
    let (ports, mut workers) = (Ports::free(), Vec::new());
    for n in 0..WORKERS {
        let n = u8::try_from(n).expect("few");
        workers.push(WorkerProcess::start(control, ports, n).await);
    }
    workers
}

/// The status that each worker has for `login`.
async fn statuses(workers: &[WorkerProcess], login: &Login) -> [u16; WORKERS] {
    let mut found = [0; WORKERS];
    for (found, worker) in found.iter_mut().zip(workers) {
        let client = RegistryClient::new(worker.addr(), login);
        *found = client.get("/v2/").await.status().as_u16();
    }
    found
}

async fn users(admin: &mut Admin) -> Vec<String> {
    let answer = admin.client().list_users(pb::ListUsersRequest {}).await;
    let users = answer.expect("users are listed").into_inner().users;
    users.into_iter().map(|it| it.name).collect()
}

#[tokio::test]
async fn a_full_disk_refuses_changes_whole_and_takes_them_again_once_there_is_room() {
    let place = Place::fresh();
    let dir = place.dir().to_owned();
    let disk = SmallDisk::mount(&dir);
    let mut control = ControlProcess::start_at(place).await;
    let mut admin = control.place().admin();
    disk.fill(600 << 10);

    let (mut kept, refused) = fill_up(&mut admin).await;

    assert_eq!(refused, Code::Unavailable);
    kept.sort();
    assert_eq!(users(&mut admin).await, kept);
    disk.free();
    assert_eq!(create_user(&mut admin, "later").await, Ok(()));
    kept.insert(0, "later".into());
    assert_eq!(users(&mut admin).await, kept);
    control = ControlProcess::start_at(control.kill()).await;
    assert_eq!(users(&mut control.place().admin()).await, kept);
}

#[tokio::test]
async fn workers_serve_what_was_acknowledged_while_the_disk_is_full_and_what_comes_after() {
    let place = Place::fresh();
    let dir = place.dir().to_owned();
    let disk = SmallDisk::mount(&dir);
    let control = ControlProcess::start_at(place).await;
    let mut admin = control.place().admin();
    admin.create_user("qnib").await;
    let login = admin.create_type("qnib", "type1", &["cpu:skylake"]).await;
    let workers = start_workers(control.place()).await;
    disk.fill(600 << 10);
    let (_, refused) = fill_up(&mut admin).await;
    disk.fill_whole();
    let deleted = pb::DeleteLoginRequest {
        name: login.name.clone(),
    };

    let not_deleted = admin.client().delete_login(deleted).await;

    assert_eq!(refused, Code::Unavailable);
    assert_eq!(not_deleted.unwrap_err().code(), Code::Unavailable);
    admin.all_current_within(SOON, WORKERS).await;
    assert_eq!(statuses(&workers, &login).await, [200; WORKERS]);
    for worker in &workers {
        let said = readiness(worker.admin_addr()).await.unwrap_or_default();
        assert!(!said.contains("not confirmed"), "{said}");
    }
    disk.free();
    let later = admin.create_type("qnib", "later", &["cpu:zen4"]).await;
    admin.delete_login(&login.name).await;
    admin.all_current_within(SOON, WORKERS).await;
    assert_eq!(statuses(&workers, &later).await, [200; WORKERS]);
    assert_eq!(statuses(&workers, &login).await, [401; WORKERS]);
}
