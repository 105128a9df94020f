//! The image service of the Container Runtime Interface, as the kubelet calls
//! it: the messages of `runtime.v1` for a pull.

use http::uri::PathAndQuery;
use prost::Message;
use tonic::{
    Request, Status,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use crate::admin::Login;

/// A connection to a container runtime.
#[derive(Clone, Debug)]
pub struct ImageService(Grpc<Channel>);

#[derive(Clone, PartialEq, Message)]
struct ImageSpec {
    #[prost(string, tag = "1")]
    image: String,
}

/// The message that the kubelet makes of a pod's `imagePullSecrets`. The
/// kubelet leaves the server's address empty.
#[derive(Clone, PartialEq, Message)]
struct AuthConfig {
    #[prost(string, tag = "1")]
    username: String,
    #[prost(string, tag = "2")]
    password: String,
}

#[derive(Clone, PartialEq, Message)]
struct PullImageRequest {
    #[prost(message, optional, tag = "1")]
    image: Option<ImageSpec>,
    #[prost(message, optional, tag = "2")]
    auth: Option<AuthConfig>,
}

#[derive(Clone, PartialEq, Message)]
struct PullImageResponse {
    #[prost(string, tag = "1")]
    image_ref: String,
}

#[derive(Clone, PartialEq, Message)]
struct ImageStatusRequest {
    #[prost(message, optional, tag = "1")]
    image: Option<ImageSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct ImageStatusResponse {
    #[prost(message, optional, tag = "1")]
    image: Option<Image>,
}

#[derive(Clone, PartialEq, Message)]
struct Image {
    #[prost(string, repeated, tag = "3")]
    repo_digests: Vec<String>,
}

impl ImageService {
    /// Connects to the runtime's socket.
    pub async fn connect(socket: &str) -> Result<Self, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(format!("unix://{socket}"))?;
        Ok(Self(Grpc::new(endpoint.connect().await?)))
    }

    /// Pulls `image`, with the credentials of a pod if there are some.
    pub async fn pull(&mut self, image: &str, pod: Option<&Login>) -> Result<(), Status> {
        let request = PullImageRequest {
            image: Some(spec(image)),
            auth: pod.map(|login| AuthConfig {
                username: login.name.clone(),
                password: login.secret.clone(),
            }),
        };
        let path = PathAndQuery::from_static("/runtime.v1.ImageService/PullImage");
        let _: PullImageResponse = self.call(path, request).await?;
        Ok(())
    }

    /// The digests under which the runtime has pulled an image.
    pub async fn repo_digests(&mut self, image: &str) -> Vec<String> {
        let request = ImageStatusRequest {
            image: Some(spec(image)),
        };
        let path = PathAndQuery::from_static("/runtime.v1.ImageService/ImageStatus");
        let status: Result<ImageStatusResponse, Status> = self.call(path, request).await;
        let status = status.expect("the runtime answers");
        status.image.expect("the image is there").repo_digests
    }

    async fn call<Q, A>(&mut self, path: PathAndQuery, request: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let Self(grpc) = self;
        let ready = grpc.ready().await;
        ready.map_err(|error| Status::unavailable(error.to_string()))?;
        let codec = ProstCodec::<Q, A>::default();
        let answer = grpc.unary(Request::new(request), path, codec).await?;
        Ok(answer.into_inner())
    }
}

fn spec(image: &str) -> ImageSpec {
    ImageSpec {
        image: image.to_owned(),
    }
}
