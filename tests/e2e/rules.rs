//! Admins say what authors did not: rules label variants, pins choose them.

use metahub_cli::demo::image::REPOSITORY;
use metahub_proto::{admin::v1 as pb, policy::v1 as policy};
use metahub_tests::{client::error, site::Site};

const ALMA: &str = "almalinux/10";

/// Makes every amd64 entry of AlmaLinux that has no variant need x86-64-v3.
async fn put_rule(site: &mut Site) {
    let rule = policy::Rule {
        name: "almalinux-v3".into(),
        repository: "almalinux/*".into(),
        r#match: Some(policy::RuleMatch {
            architecture: Some("amd64".into()),
            variant: Some(String::new()),
            ..Default::default()
        }),
        requires: vec!["cpu:x86_64_v3".into()],
        ..Default::default()
    };
    let request = pb::PutRuleRequest { rule: Some(rule) };
    let put = site.admin.client().put_rule(request).await;
    put.expect("the rule is put");
    site.admin.all_current(site.workers.len()).await;
}

/// Pins a variant of `qnib/bench` for a type of `qnib`.
async fn put_pin(site: &mut Site, machine_type: &str, digest: &str) {
    let pin = policy::Pin {
        user: "qnib".into(),
        machine_type: machine_type.into(),
        repository: REPOSITORY.into(),
        digest: digest.into(),
    };
    let request = pb::PutPinRequest { pin: Some(pin) };
    let put = site.admin.client().put_pin(request).await;
    put.expect("the pin is put");
    site.admin.all_current(site.workers.len()).await;
}

#[tokio::test]
async fn an_unlabelled_image_that_a_rule_labels_is_refused_to_a_type_that_lacks_what_it_needs() {
    let mut site = Site::start(2).await;
    let set = site.put_variant(ALMA, &[]);
    let old = site
        .admin
        .create_type("qnib", "old", &["cpu:sandybridge"])
        .await;
    site.admin.all_current(2).await;
    let digest = site.client(0, &old).digest(ALMA, "latest").await;
    assert_eq!(digest, set.index.digest, "without a rule, all is for all");

    put_rule(&mut site).await;

    for worker in 0..2 {
        let answer = site.client(worker, &old).manifest(ALMA, "latest").await;
        assert_eq!(answer.status(), 403);
        let (_, message) = error(answer).await;
        assert!(message.contains("cpu:x86_64_v3"), "{message}");
        let broadwell = site.client(worker, &site.type1);
        let digest = broadwell.digest(ALMA, "latest").await;
        assert_eq!(digest, set.index.digest, "it fits: as it was");
    }
}

#[tokio::test]
async fn a_pinned_variant_is_given_to_its_own_type_until_the_pin_is_gone() {
    let mut site = Site::start(2).await;
    let other = site
        .admin
        .create_type("qnib", "other", &["cpu:skylake"])
        .await;
    let [generic, skylake] = [0, 1].map(|n| site.bench.images[n].manifest.digest.clone());

    put_pin(&mut site, "type2", &generic).await;

    for worker in 0..2 {
        let pinned = site.client(worker, &site.type2);
        assert_eq!(pinned.digest(REPOSITORY, "latest").await, generic);
        let free = site.client(worker, &other);
        assert_eq!(free.digest(REPOSITORY, "latest").await, skylake);
    }
    let request = pb::DeletePinRequest {
        user: "qnib".into(),
        machine_type: "type2".into(),
        repository: REPOSITORY.into(),
    };
    site.admin.client().delete_pin(request).await.unwrap();
    site.admin.all_current(2).await;
    let freed = site.client(1, &site.type2);
    assert_eq!(freed.digest(REPOSITORY, "latest").await, skylake);
}

#[tokio::test]
async fn a_pinned_variant_that_does_not_fit_is_passed_over() {
    let mut site = Site::start(1).await;
    let [skylake, broadwell] = [1, 2].map(|n| site.bench.images[n].manifest.digest.clone());

    put_pin(&mut site, "type1", &skylake).await;

    assert_eq!(site.host().digest(REPOSITORY, "latest").await, broadwell);
}
