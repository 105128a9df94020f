//! A second login of a machine type.

use crate::{
    process::printed,
    site::{Login, Site},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_login_of_a_type_gets_its_images_and_ends_alone() {
    let site = Site::start().await;
    let first = site.create_type("t", &["--feature=cpu:broadwell"]);

    let further = [
        "login",
        "create",
        "t",
        "--user=qnib",
        "--name=rack7",
        "--wait",
    ];
    let second = site.json(&further);
    let second = Login {
        name: second["name"].as_str().expect("it has a name").into(),
        secret: second["secret"].as_str().expect("it has a secret").into(),
    };

    assert_eq!(second.name, "qnib-t--rack7");
    let pulled = site.pull(&second, "latest").await.unwrap();
    assert_eq!(pulled, site.pull(&first, "latest").await.unwrap());
    let exported = printed(&site.run(&["export"]));
    assert!(exported.contains("name: rack7"), "{exported}");
    printed(&site.run(&["login", "delete", "qnib-t--rack7", "--wait"]));
    assert!(site.pull(&second, "latest").await.is_err());
    assert!(site.pull(&first, "latest").await.is_ok());
}
