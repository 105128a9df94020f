//! A disk that is full under the SQLite store.

use std::{fs, path::Path, process::Command};

use metahub_proto::admin::v1 as pb;
use metahub_tests::{
    admin::Admin,
    control::{ControlProcess, Place},
};
use tonic::Code;

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

    let mut kept = Vec::new();
    let refused = loop {
        let name = format!("user{}", kept.len());
        match create_user(&mut admin, &name).await {
            Ok(()) => kept.push(name),
            Err(code) => break code,
        }
    };

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
