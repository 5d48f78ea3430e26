//! A message as a letter, and one attempt at handing it to a mail server.
//!
//! The connection is `sortie-egress`'s: its guard sees the address. The dialogue on it, and STARTTLS, is `lettre`'s. What is in a header is
//! encoded by `lettre`, too; a line break has gone out of texts long before.

use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::{io, net::SocketAddr};

use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, SinglePart};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream, Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use sortie_contract::digest::Digest;
use sortie_egress::{Authorities, Guard, Secured, dial, resolve, secure};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::config::{Encryption, Mail};
use crate::ledger::Failed;
use crate::message::Message;

/// Longest text of a letter, in bytes.
const TEXT_BYTES_MAX: usize = 32 << 10;

/// Largest file of authorities, in bytes: as many as an operating system has.
const CA_BYTES_MAX: u64 = 1 << 20;

/// What tells programs that answer letters by themselves not to answer this one (RFC 3834).
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// A letter of a message.
fn letter(mail: &Mail, message: &Message) -> Result<lettre::Message, String> {
    let text = message.text(TEXT_BYTES_MAX);
    let further = message.url.as_ref().map(|url| format!("\n\n{url}\n")).unwrap_or_default();
    let body = format!("{}\n\n{text}{further}\n", message.title);
    // The same letter has the same name: where one is sent again behind an answer that was lost, people see it once.
    let id = Digest::of(format!("{} {body}", message.at).as_bytes()).to_string();
    let host = mail.from.email.domain();
    let mut builder = lettre::Message::builder()
        .from(mail.from.clone())
        .subject(message.title.clone())
        .message_id(Some(format!("<{}@{host}>", &id[..32])))
        .header(AutoSubmitted);
    for to in &mail.to {
        builder = builder.to(Mailbox::clone(to));
    }
    let date = std::time::SystemTime::from(message.at);
    let part = SinglePart::builder().header(ContentType::TEXT_PLAIN).body(body);
    builder.date(date).singlepart(part).map_err(|error| error.to_string())
}

/// Hands a message to the server, once.
pub(crate) async fn send(mail: &Mail, guard: &Guard, message: &Message) -> Result<(), Failed> {
    let letter = letter(mail, message).map_err(why)?;
    let password = match &mail.password {
        Some(reference) => Some(resolve(reference).await.map_err(|error| why(with_cause(&error)))?),
        None => None,
    };
    let authorities = match &mail.ca {
        Some(file) => Some(authorities(file).await.map_err(why)?),
        None => None,
    };
    let stream = dial(guard, &mail.host, mail.port).await.map_err(|error| why(error.to_string()))?;
    let stream: Box<dyn AsyncTokioStream> = match mail.encryption {
        Encryption::Implicit => {
            let further = authorities.as_ref();
            Box::new(Tls(secure(stream, &mail.host, further).await.map_err(|error| why(error.to_string()))?))
        }
        Encryption::Starttls | Encryption::None => Box::new(stream),
    };
    // Its own name is nobody's business.
    let hello = ClientId::Domain("localhost".to_owned());
    let mut connection =
        AsyncSmtpConnection::connect_with_transport(stream, &hello).await.map_err(|error| refused(&error))?;
    if mail.encryption == Encryption::Starttls {
        if !connection.can_starttls() {
            return Err(why("the mail server does not speak STARTTLS; see `tls` of the channel".to_owned()));
        }
        let mut parameters = TlsParameters::builder(certified(&mail.host));
        if let Some(authorities) = &authorities {
            let further = Certificate::from_pem(authorities.text()).map_err(|error| refused(&error))?;
            parameters = parameters.add_root_certificate(further);
        }
        let parameters = parameters.build().map_err(|error| refused(&error))?;
        connection.starttls(parameters, &hello).await.map_err(|error| refused(&error))?;
    }
    if let (Some(user), Some(password)) = (&mail.user, password) {
        let credentials = Credentials::new(user.clone(), password.expose().to_owned());
        connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await.map_err(|error| refused(&error))?;
    }
    connection.send(letter.envelope(), &letter.formatted()).await.map_err(|error| refused(&error))?;
    // It is the server's from here on: how it says goodbye changes nothing.
    let _ = connection.quit().await;
    Ok(())
}

/// The authorities in a file. It is read for each message: it may be renewed.
async fn authorities(file: &Path) -> Result<Authorities, String> {
    let named = |why: String| format!("`mail.ca`: {}: {why}", file.display());
    let found = tokio::fs::metadata(file).await.map_err(|error| named(error.to_string()))?;
    if !found.is_file() || found.len() > CA_BYTES_MAX {
        return Err(named(format!("it is no file of at most {CA_BYTES_MAX} bytes")));
    }
    let text = tokio::fs::read(file).await.map_err(|error| named(error.to_string()))?;
    Authorities::of(text).map_err(named)
}

/// The name that a server's certificate must have: of an address of IPv6 without the brackets.
fn certified(host: &str) -> String {
    host.trim_matches(['[', ']']).to_owned()
}

fn why(why: String) -> Failed {
    Failed { why, retry_after: None }
}

fn refused(error: &lettre::transport::smtp::Error) -> Failed {
    why(format!("the mail server: {}", with_cause(error)))
}

fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) if !error.to_string().contains(&cause.to_string()) => format!("{error}: {cause}"),
        _ => error.to_string(),
    }
}

/// A connection that was secured before the first word.
#[derive(Debug)]
struct Tls(Secured);

impl AsyncTokioStream for Tls {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().0.peer_addr()
    }
}

impl AsyncRead for Tls {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tls {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[path = "mail_tests.rs"]
mod handed_over;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::sample;

    fn mail() -> Mail {
        Mail {
            host: "mail.example".to_owned(),
            port: 587,
            encryption: Encryption::Starttls,
            ca: None,
            user: None,
            password: None,
            from: "Sortie <sortie@factory.example>".parse().expect("an address"),
            to: vec!["ada@example.org".parse().expect("an address")],
        }
    }

    #[test]
    fn a_certificate_names_an_address_without_brackets() {
        for (host, expected) in
            [("mail.example", "mail.example"), ("[2001:db8::1]", "2001:db8::1"), ("10.0.0.9", "10.0.0.9")]
        {
            assert_eq!(certified(host), expected);
        }
    }

    #[test]
    fn nothing_that_a_mission_says_becomes_a_header() {
        let mut message = sample(&["x\r\nBcc: all@example.org\r\n\r\nbody", "grüße"], true);
        // More than could come here: a title is the node's own words.
        message.title = "factory-1: ü\r\nBcc: all@example.org".to_owned();
        let formatted = String::from_utf8(letter(&mail(), &message).expect("a letter").formatted()).expect("ASCII");
        let (headers, body) = formatted.split_once("\r\n\r\n").expect("headers and a body");
        assert!(!headers.to_ascii_lowercase().contains("\r\nbcc:"), "{headers}");
        assert!(
            headers.contains("Auto-Submitted: auto-generated") && headers.contains("To: ada@example.org"),
            "{headers}"
        );
        assert!(headers.is_ascii() && !body.is_empty());
        let letter = letter(&mail(), &message).expect("a letter");
        assert_eq!(letter.envelope().to().len(), 1, "and none a receiver");
    }
}
