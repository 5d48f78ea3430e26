//! How a bucket is reached: its requests go out through `sortie-egress`, and its keys are read for each use.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http_body_util::BodyExt as _;
use object_store::ClientOptions;
use object_store::aws::AwsCredential;
use object_store::client::{
    CredentialProvider, CryptoProvider, DigestAlgorithm, DigestContext, HmacContext, HttpClient, HttpConnector,
    HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService, Signer, SigningAlgorithm,
};
use sha2::{Digest as _, Sha256};
use sortie_egress::{Client, Guard, Limits, Request, SendError, resolve};

use crate::config::Keys;

/// The longest that a request may take to its answer's head: a part of an upload is of some MiB.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Connects through a guard.
#[derive(Debug, Clone)]
pub(crate) struct Connector(Arc<Client>);

impl Connector {
    pub(crate) fn new(guard: Guard) -> Self {
        let limits = Limits { connect_timeout: Duration::from_secs(10), idle_per_host: 16, decompress: false };
        Self(Arc::new(Client::new(guard, limits)))
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Service(Arc::clone(&self.0))))
    }
}

#[derive(Debug)]
struct Service(Arc<Client>);

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let unknown = |error| HttpError::new_boxed(HttpErrorKind::Unknown, error);
        let url = parts.uri.to_string().parse().map_err(|error: url::ParseError| unknown(error.into()))?;
        let body = match body.as_bytes() {
            Some(bytes) => bytes.clone(),
            None => body.collect().await?.to_bytes(),
        };
        let request = Request { method: parts.method, url, headers: parts.headers, body };
        let sent = tokio::time::timeout(ANSWER_MAX, self.0.send(request)).await;
        let answer = sent.unwrap_or_else(|_| Err(SendError::TimedOut(String::new()))).map_err(of)?;
        let (head, body) = answer.into_response().into_parts();
        Ok(HttpResponse::from_parts(head, HttpResponseBody::new(body.map_err(of))))
    }
}

/// What an error means to whoever decides whether to repeat a request.
fn of(error: SendError) -> HttpError {
    let kind = match &error {
        SendError::Refused(_) | SendError::Setup(_) => HttpErrorKind::Unknown,
        SendError::TimedOut(_) => HttpErrorKind::Timeout,
        SendError::Connect(_) => HttpErrorKind::Connect,
        SendError::Broken(_) => HttpErrorKind::Interrupted,
        SendError::Decode(_) => HttpErrorKind::Decode,
    };
    HttpError::new(kind, error)
}

/// Reads keys from where they are.
#[derive(Debug)]
pub(crate) struct KeyRing(pub(crate) Keys);

#[async_trait]
impl CredentialProvider for KeyRing {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let wrong =
            |error: sortie_egress::SecretError| object_store::Error::Generic { store: "keys", source: error.into() };
        let Keys { id, key, token } = &self.0;
        let token = match token {
            Some(token) => Some(resolve(token).await.map_err(wrong)?.expose().to_owned()),
            None => None,
        };
        Ok(Arc::new(AwsCredential {
            key_id: resolve(id).await.map_err(wrong)?.expose().to_owned(),
            secret_key: resolve(key).await.map_err(wrong)?.expose().to_owned(),
            token,
        }))
    }
}

/// What requests are signed with.
#[derive(Debug)]
pub(crate) struct Signing;

/// A digest, or one with a key, while bytes are put into it.
struct Under<T>(T, Vec<u8>);

impl CryptoProvider for Signing {
    fn digest(&self, algorithm: DigestAlgorithm) -> object_store::Result<Box<dyn DigestContext>> {
        match algorithm {
            DigestAlgorithm::Sha256 => Ok(Box::new(Under(Sha256::new(), Vec::new()))),
            _ => Err(unknown_algorithm()),
        }
    }

    fn hmac(&self, algorithm: DigestAlgorithm, secret: &[u8]) -> object_store::Result<Box<dyn HmacContext>> {
        match algorithm {
            DigestAlgorithm::Sha256 => {
                let keyed = Hmac::<Sha256>::new_from_slice(secret).expect("a key of any length is one");
                Ok(Box::new(Under(keyed, Vec::new())))
            }
            _ => Err(unknown_algorithm()),
        }
    }

    // Of other stores than those that are reached here.
    fn sign(&self, _: SigningAlgorithm, _: &[u8]) -> object_store::Result<Box<dyn Signer>> {
        Err(unknown_algorithm())
    }
}

fn unknown_algorithm() -> object_store::Error {
    object_store::Error::NotSupported { source: "requests are signed with SHA-256 alone".into() }
}

impl DigestContext for Under<Sha256> {
    fn update(&mut self, data: &[u8]) {
        sha2::Digest::update(&mut self.0, data);
    }

    fn finish(&mut self) -> object_store::Result<&[u8]> {
        self.1 = self.0.finalize_reset().to_vec();
        Ok(&self.1)
    }
}

impl HmacContext for Under<Hmac<Sha256>> {
    fn update(&mut self, data: &[u8]) {
        hmac::Mac::update(&mut self.0, data);
    }

    fn finish(&mut self) -> object_store::Result<&[u8]> {
        self.1 = self.0.clone().finalize().into_bytes().to_vec();
        Ok(&self.1)
    }
}

/// Bytes of one piece.
pub(crate) fn payload(bytes: Bytes) -> object_store::PutPayload {
    object_store::PutPayload::from_bytes(bytes)
}
