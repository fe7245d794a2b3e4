//! The client of the API server: when it gives up, and how soon what it sends leaves.

use std::time::Duration;

use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ClientBuilder, ConfigExt as _};
use kube::{Client, Config};
use tower::BoxError;
use tower::ServiceBuilder;
use tower::retry::RetryLayer;
use tower::timeout::TimeoutLayer;
use tower_http::timeout::ResponseBodyTimeoutLayer;

/// So long after a request, the agent's megabyte among them, there is an answer.
const ANSWER: Duration = Duration::from_secs(30);
/// So long at most an answer that has begun says nothing: a watch, which is the longest, ends by itself before (see `watch`).
const SILENCE: Duration = Duration::from_secs(45);

/// A client that notices a connection of which half is gone (nothing else tells of it), and whose frames leave at once.
///
/// The library's own client leaves Nagle's algorithm on: a frame that follows another waits until the API server has acknowledged the
/// first, which it puts off for 40 ms, and a step begins that much later. So the library's stack (`ClientBuilder::try_from`) is put
/// together here on a socket with `TCP_NODELAY`. A way through a proxy stays the library's own.
pub(crate) fn client(config: Config) -> kube::Result<Client> {
    if config.proxy_url.is_some() {
        let builder = ClientBuilder::try_from(config)?
            .with_layer(&ResponseBodyTimeoutLayer::new(SILENCE))
            .with_layer(&TimeoutLayer::new(ANSWER));
        return Ok(builder.build());
    }
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error says that another thread was first, with the same one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(tcp)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    let http: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new()).build(connector);
    let retry = config
        .default_retry
        .then(|| RetryLayer::new(RetryPolicy::server_retry()));
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ANSWER))
        .layer(ResponseBodyTimeoutLayer::new(SILENCE))
        .layer(config.base_uri_layer())
        .option_layer(retry)
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(ClientBuilder::new(service, config.default_namespace).build())
}
