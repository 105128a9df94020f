//! One name, and each machine type gets the variant that is for it.

use metahub_cli::demo::image::{Form, REPOSITORY};
use metahub_proto::policy::v1 as policy;
use metahub_tests::{
    client::{error, header},
    index::{entry, put_index},
    site::Site,
};

#[tokio::test]
async fn each_type_gets_its_own_variant_of_a_docker_list_from_every_worker() {
    each_type_gets_its_own_variant(Form::Docker).await;
}

#[tokio::test]
async fn each_type_gets_its_own_variant_of_an_oci_index_from_every_worker() {
    each_type_gets_its_own_variant(Form::Oci).await;
}

async fn each_type_gets_its_own_variant(form: Form) {
    let site = Site::start_with(2, form, &[]).await;
    let [_, skylake, broadwell, _] = &site.bench.images[..] else {
        panic!("the image has four variants");
    };

    for worker in 0..2 {
        let type1 = site.client(worker, &site.type1);
        let type2 = site.client(worker, &site.type2);

        let digest = type1.digest(REPOSITORY, "latest").await;
        assert_eq!(digest, broadwell.manifest.digest);
        let digest = type2.digest(REPOSITORY, "latest").await;
        assert_eq!(digest, skylake.manifest.digest);
    }
}

#[tokio::test]
async fn a_tag_is_answered_with_the_variants_own_manifest_byte_for_byte() {
    let site = Site::start(1).await;

    let answer = site.host().manifest(REPOSITORY, "latest").await;

    let broadwell = &site.bench.images[2].manifest;
    assert_eq!(header(&answer, "content-type"), broadwell.media_type);
    assert_eq!(answer.bytes().await.unwrap(), broadwell.bytes);
}

#[tokio::test]
async fn a_tag_that_means_one_image_is_answered_as_it_is() {
    let site = Site::start(1).await;
    let generic = &site.bench.images[0].manifest;
    site.upstream
        .tag(REPOSITORY, "single", Some(&generic.digest));

    let answer = site.host().manifest(REPOSITORY, "single").await;

    assert_eq!(answer.bytes().await.unwrap(), generic.bytes);
}

#[tokio::test]
async fn an_index_asked_for_by_digest_is_served_whole() {
    let site = Site::start(1).await;
    let index = &site.bench.index;

    let answer = site.host().manifest(REPOSITORY, &index.digest).await;

    assert_eq!(answer.bytes().await.unwrap(), index.bytes);
}

#[tokio::test]
async fn a_variant_of_another_type_is_served_by_digest() {
    let site = Site::start(1).await;
    let skylake = &site.bench.images[1].manifest;

    let answer = site.host().manifest(REPOSITORY, &skylake.digest).await;

    assert_eq!(answer.bytes().await.unwrap(), skylake.bytes);
}

#[tokio::test]
async fn a_build_host_is_given_an_index_with_the_other_platforms() {
    let mut site = Site::start(1).await;
    let builder = site.admin.create(policy::MachineType {
        user: "qnib".into(),
        name: "builder".into(),
        features: vec!["cpu:skylake".into()],
        platforms: policy::Platforms::All.into(),
        ..Default::default()
    });
    let builder = builder.await;
    site.admin.all_current(1).await;
    let [generic, skylake, broadwell, _] = &site.bench.images[..] else {
        panic!("the image has four variants");
    };
    let [generic, skylake, broadwell] =
        [generic, skylake, broadwell].map(|image| image.manifest.digest.as_str());
    let mut arm64 = entry(broadwell, &[]);
    arm64["platform"]["architecture"] = "arm64".into();
    let entries = [entry(generic, &[]), entry(skylake, &["cpu:skylake"]), arm64];
    put_index(&site.upstream, REPOSITORY, "both", &entries);

    let answer = site.client(0, &builder).manifest(REPOSITORY, "both").await;

    let index: serde_json::Value = answer.json().await.expect("JSON");
    let listed = index["manifests"].as_array().expect("an index").iter();
    let listed: Vec<_> = listed.map(|entry| entry["digest"].clone()).collect();
    assert_eq!(listed, [skylake, broadwell]);
}

#[tokio::test]
async fn where_no_variant_fits_the_host_learns_what_the_variants_need() {
    let site = Site::start(1).await;
    site.put_variant("qnib/zen4", &["cpu:zen4"]);

    let answer = site.host().manifest("qnib/zen4", "latest").await;

    assert_eq!(answer.status(), 403);
    let (code, message) = error(answer).await;
    assert_eq!(code, "DENIED");
    for part in ["qnib-type1", "cpu:zen4", "qnib/zen4"] {
        assert!(message.contains(part), "no {part} in: {message}");
    }
}
