//! Connections to names, without the C library's resolver: a static binary
//! has none that works.

use std::{
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use hickory_resolver::{TokioResolver, net::NetError};
use hyper_util::client::legacy::connect::{HttpConnector, dns::Name};
use tower::Service;

/// Resolves names as `/etc/resolv.conf` and `/etc/hosts` say.
#[derive(Clone)]
pub(crate) struct Dns(Arc<TokioResolver>);

/// A connector for tonic that resolves names by [`Dns`].
pub(crate) fn connector(timeout: Duration) -> Result<HttpConnector<Dns>, NetError> {
    let resolver = TokioResolver::builder_tokio()?.build()?;
    let mut connector = HttpConnector::new_with_resolver(Dns(Arc::new(resolver)));
    connector.set_connect_timeout(Some(timeout));
    connector.set_nodelay(true);
    // Whether TLS follows is not its business.
    connector.enforce_http(false);
    Ok(connector)
}

impl Service<Name> for Dns {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = NetError;
    type Future = BoxFuture<'static, Result<Self::Response, NetError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NetError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = self.0.clone();
        Box::pin(async move {
            let found = resolver.lookup_ip(name.as_str()).await?;
            // The connector puts the port in.
            let addresses: Vec<_> = found.iter().map(|ip| SocketAddr::new(ip, 0)).collect();
            Ok(addresses.into_iter())
        })
    }
}
