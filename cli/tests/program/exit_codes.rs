//! 0 for done, 1 for failed, 2 for a wrong command line.

use tempfile::tempdir;

use crate::process::{metahubctl, run, told};

#[test]
fn a_wrong_command_line_exits_with_2() {
    let home = tempdir().unwrap();

    for arguments in [&["frobnicate"][..], &["type", "create", "type1"], &[]] {
        assert_eq!(
            run(&home, arguments).status.code(),
            Some(2),
            "{arguments:?}"
        );
    }
}

#[test]
fn without_a_token_it_says_where_one_comes_from() {
    let home = tempdir().unwrap();

    let output = run(&home, &["status"]);

    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("--token-file"), "{}", told(&output));
}

#[test]
fn an_unreachable_control_plane_is_told_with_the_way_to_start_one() {
    let home = tempdir().unwrap();
    std::fs::write(home.path().join("token"), "a-token-of-some-length").unwrap();

    let arguments = [
        "--control=http://127.0.0.1:1",
        "--token-file=token",
        "status",
    ];
    let output = run(&home, &arguments);

    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("metahubctl up"), "{}", told(&output));
}

#[test]
fn what_is_no_control_plane_is_told_with_the_two_ways_to_name_one() {
    let home = tempdir().unwrap();
    std::fs::write(home.path().join("token"), "a-token-of-some-length").unwrap();
    let web = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = web.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in web.incoming() {
            let _ = std::io::Write::write_all(
                &mut stream.unwrap(),
                b"HTTP/1.1 400 Bad Request\r\n\r\n",
            );
        }
    });

    let control = format!("--control=http://{address}");
    let output = run(&home, &[&control, "--token-file=token", "status"]);

    assert_eq!(output.status.code(), Some(1));
    assert!(
        told(&output).contains("https:// where it serves TLS"),
        "{}",
        told(&output)
    );
}

#[test]
fn a_variable_for_a_directory_that_is_empty_counts_as_unset() {
    let home = tempdir().unwrap();

    let mut command = metahubctl(&home, &["status"]);
    let empty = [("XDG_CONFIG_HOME", ""), ("DOCKER_CONFIG", "")];
    let output = command.envs(empty).output().unwrap();

    assert_eq!(output.status.code(), Some(1));
    assert!(
        told(&output).contains("no admin token"),
        "{}",
        told(&output)
    );
}

#[test]
fn an_unreadable_settings_file_is_named() {
    let home = tempdir().unwrap();
    let dir = home.path().join(".config/metahub");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("config.toml"), "colour = 'red'").unwrap();

    let output = run(&home, &["status"]);

    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("config.toml"), "{}", told(&output));
    assert!(told(&output).contains("colour"), "{}", told(&output));
}
