//! What `image explain` and `type diff` say is what hosts get.

use std::fs;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    process::{printed, told},
    site::{Login, Site},
};

const IMAGE: &str = "qnib/bench:latest";

/// A site with a type for each variant, one that is answered with an index,
/// and one that nothing fits.
async fn site() -> (Site, Vec<(&'static str, Login)>) {
    let site = Site::start().await;
    let types = [
        ("type1", "cpu:broadwell"),
        ("type2", "cpu:skylake"),
        ("type3", "cpu:broadwell,nvcap:5.2"),
        ("amd", "cpu:zen4"),
        ("arm", "cpu:neoverse_n1"),
    ];
    let logins = types.map(|(name, features)| {
        let login = site.create_type(name, &[&format!("--feature={features}")]);
        (name, login)
    });
    let mut logins = Vec::from(logins);
    let index = ["--feature=cpu:broadwell", "--present=index"];
    logins.push(("index", site.create_type("index", &index)));
    (site, logins)
}

fn of_type<'a>(explained: &'a Value, name: &str) -> &'a Value {
    let types = explained["types"].as_array().expect("types are listed");
    types
        .iter()
        .find(|it| it["type"] == name)
        .expect("it is listed")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_type_pulls_what_explain_says_it_gets() {
    let (site, logins) = site().await;
    let [login, password] = site.login_flags(&logins[4].1);

    let explained = site.json(&["image", "explain", IMAGE, &login, &password]);

    assert_eq!(explained["digest"], site.bench.index.digest);
    assert_eq!(explained["variants"].as_array().unwrap().len(), 4);
    for (name, login) in &logins {
        let said = of_type(&explained, name);
        match site.pull(login, "latest").await {
            Ok(digest) => assert_eq!(said["gets"], digest, "{said}"),
            Err(told) => {
                let refusal = said["refusal"].as_str().unwrap();
                assert!(told.contains(refusal), "{told}\n{refusal}");
                assert_eq!((&said["gets"], *name), (&Value::Null, "arm"));
            }
        }
    }
    assert_eq!(of_type(&explained, "index")["as"], "trimmed-index");
    let reasons = of_type(&explained, "type1")["reasons"].as_array().unwrap();
    assert!(reasons[0]["reason"].as_str().unwrap().ends_with("by cpu"));
    assert_eq!(
        reasons[3]["reason"],
        "needs nvcap:5.2; the host has no nvcap"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_login_that_docker_keeps_is_used_and_a_wrong_one_refused() {
    let (site, logins) = site().await;
    let keep = |secret: &str| {
        let auth = STANDARD.encode(format!("{}:{secret}", logins[0].1.name));
        let config = json!({"auths": {&site.registry: {"auth": auth}}}).to_string();
        fs::create_dir_all(site.home.path().join(".docker")).unwrap();
        fs::write(site.home.path().join(".docker/config.json"), config).unwrap();
    };

    let none = site.run(&["image", "explain", IMAGE]);
    keep(&logins[0].1.secret);
    let good = site.run(&["image", "explain", IMAGE]);
    let by_docker = format!("{}/{IMAGE}", site.registry);
    let with_registry = site.json(&["image", "explain", &by_docker, "--type=type1"]);
    let selected = site.json(&["image", "explain", IMAGE, "--type=type1+nvcap:5.2"]);
    keep("wrong");
    let wrong = site.run(&["image", "explain", IMAGE]);

    assert_eq!(none.status.code(), Some(1));
    assert!(told(&none).contains("--login NAME"), "{}", told(&none));
    let table = printed(&good);
    assert!(table.contains("qnib/type3"), "{table}");
    assert!(table.contains("DOES NOT GET"), "{table}");
    assert_eq!(with_registry["image"], IMAGE);
    assert_eq!(with_registry["kept"].as_array().unwrap().len(), 1);
    assert_eq!(selected["gets"], site.bench.images[3].manifest.digest);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(told(&wrong).contains("`qnib-type1`"), "{}", told(&wrong));
}

#[tokio::test(flavor = "multi_thread")]
async fn resolve_prints_the_child_that_each_type_pulls_and_exits_with_3_for_none() {
    let (site, logins) = site().await;
    let [login, password] = site.login_flags(&logins[4].1);
    let image = format!("{}/{IMAGE}", site.registry);
    let resolve = |name: &str, more: &[&str]| {
        let of_type = format!("--type={name}");
        let arguments = ["image", "resolve", &image, &of_type, &login, &password];
        site.run(&[&arguments[..], more].concat())
    };
    let reference = |digest: &str| format!("{}/qnib/bench@{digest}\n", site.registry);

    for (name, login) in &logins[..4] {
        let pulled = site.pull(login, "latest").await.unwrap();
        assert_eq!(printed(&resolve(name, &[])), reference(&pulled), "{name}");
    }
    let child = &site.bench.images[2].manifest.digest;
    assert_eq!(printed(&resolve("index", &[])), reference(child));
    let refused = resolve("arm", &["-o=json"]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(
        told(&refused).contains("machine type qnib-arm"),
        "{}",
        told(&refused)
    );
    let record: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(record["reference"], Value::Null);
    assert!(record["refusal"].as_str().unwrap().contains("qnib-arm"));
    let unknown = resolve("nosuch", &[]);
    assert_eq!(unknown.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_images_needs_name_the_hosts_and_the_types_that_fall_back() {
    let (site, logins) = site().await;
    let [login, password] = site.login_flags(&logins[0].1);

    let needs = site.json(&["image", "explain", IMAGE, "--needs", &login, &password]);

    let variants = needs["variants"].as_array().unwrap();
    let hosts: Vec<_> = variants.iter().map(|it| &it["hosts"]).collect();
    assert_eq!(hosts[0], &json!([[]]));
    assert_eq!(hosts[3], &json!([["cpu:broadwell", "nvcap:5.2"]]));
    let standing = |name| of_type(&needs, name)["standing"].as_str().unwrap();
    assert_eq!(standing("type3"), "best");
    assert_eq!(standing("amd"), "fallback");
    assert_eq!(standing("arm"), "nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_does_what_diff_said_before_it_was_made() {
    let (site, logins) = site().await;
    let [login, password] = site.login_flags(&logins[0].1);
    let image = &site.bench.images[1].manifest.digest;
    site.upstream.tag("qnib/bench", "one", Some(image));
    let images = site.home.path().join("images");
    fs::write(&images, "qnib/bench  # ours\nqnib/bench:one\n").unwrap();
    let change = ["type1", "--user=qnib", "--feature=cpu:skylake"];
    let images = format!("--images={}", images.display());

    let diff = site.json(
        &[
            &["type", "diff"][..],
            &change,
            &[&images, &login, &password],
        ]
        .concat(),
    );
    let before = site.pull(&logins[0].1, "latest").await.unwrap();
    printed(&site.run(&[&["type", "update", "--wait"][..], &change].concat()));
    let after = site.pull(&logins[0].1, "latest").await.unwrap();

    let [latest, one] = diff["images"].as_array().unwrap().as_slice() else {
        panic!("{diff}");
    };
    assert_eq!(
        (&latest["changed"], &one["changed"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(latest["from"]["gets"], before);
    assert_eq!(latest["to"]["gets"], after);
    assert_ne!(before, after);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diff_that_missed_an_image_still_tells_of_the_others_and_fails() {
    let (site, logins) = site().await;
    let [login, password] = site.login_flags(&logins[0].1);
    let images = site.home.path().join("images");
    fs::write(&images, "qnib/gone\nqnib/bench\n").unwrap();
    let images = format!("--images={}", images.display());

    let diff = [
        "type",
        "diff",
        "amd",
        "--add-feature=nvcap:9.0",
        "--arch=arm64",
    ];
    let output = site.run(&[&diff[..], &[&images, &login, &password]].concat());

    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("qnib/gone"), "{}", told(&output));
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("nothing"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_may_use_selectors_is_shown_how_and_gets_what_explain_says() {
    let site = Site::start().await;
    let feature = "--feature=cpu:broadwell";
    let create = [
        "type",
        "create",
        "t",
        "--user=qnib",
        feature,
        "--allow-selectors",
    ];

    let text = printed(&site.run(&create));
    let rotated = site.json(&["login", "rotate", "qnib-t", "--wait"]);

    assert!(text.contains("qnib-t+nvcap:8.0"), "{text}");
    assert_eq!(site.json(&["login", "list"])[0]["allow_selectors"], true);
    let mut login = Login {
        name: "qnib-t".into(),
        secret: rotated["secret"].as_str().unwrap().into(),
    };
    let [name, password] = site.login_flags(&login);
    let explain = ["image", "explain", IMAGE, "--type=t+nvcap:5.2"];
    let explained = site.json(&[&explain[..], &[&name, &password]].concat());
    login.name += "+nvcap:5.2";
    let pulled = site.pull(&login, "latest").await.unwrap();
    assert_eq!(explained["gets"], pulled);
    assert_eq!(pulled, site.bench.images[3].manifest.digest);
}

#[test]
fn a_diff_of_files_needs_no_server() {
    let home = tempfile::tempdir().unwrap();
    let entry = |place: usize, features: &[&str]| {
        json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": format!("sha256:{place:064}"),
            "size": 1,
            "platform": {"os": "linux", "architecture": "amd64", "features": features},
        })
    };
    let index = json!({
        "schemaVersion": 2,
        "manifests": [entry(1, &[]), entry(2, &["cpu:zen4"])],
    });
    fs::write(home.path().join("index.json"), index.to_string()).unwrap();
    fs::write(home.path().join("type.yaml"), "features: [cpu:zen3]").unwrap();

    let diff = [
        "type",
        "diff",
        "--type-file=type.yaml",
        "--index=index.json",
        "--feature=cpu:zen5",
        "-o=json",
    ];
    let diff = printed(&crate::process::run(&home, &diff));

    let diff: Value = serde_json::from_str(&diff).unwrap();
    assert_eq!(diff["images"][0]["changed"], true);
    assert_eq!(
        diff["images"][0]["to"]["variants"][0]["requirements"],
        json!(["cpu:zen4"])
    );
}
