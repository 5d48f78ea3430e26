//! A server that gives out files as they are, bytes and all: where a node fetches plugins from.

use std::path::PathBuf;

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse as _;

/// Runs until it is dropped.
#[derive(Debug)]
pub struct Files {
    /// Where it listens, as `127.0.0.1:PORT`.
    pub host: String,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Files {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Files {
    /// Of this folder.
    ///
    /// # Panics
    /// Without a port.
    pub async fn of(folder: PathBuf) -> Self {
        let give = move |uri: Uri| {
            let file = folder.join(uri.path().trim_start_matches('/'));
            async move { std::fs::read(file).map_err(|_| StatusCode::NOT_FOUND).into_response() }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = listener.local_addr().expect("its own").to_string();
        let router = Router::new().fallback(give);
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        Self { host, task }
    }
}
