//! Connections to Redis: through the guard that everything else goes out by, with the machine's certificates, and the few commands that the
//! bridge needs. Answers are read by hand: a field whose name is no text must not keep those behind it from being read.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ProtocolVersion, RedisConnectionInfo, RedisError, Value, cmd};
use sortie_ambient::Surroundings;
use sortie_contract::envelope::SecretRef;
use sortie_contract::limit;
use sortie_egress::{Guard, SecretError, dial, may_carry_secrets, resolve, secure};
use url::Url;

use crate::access::secret;
use crate::config::{ConfigError, RedisConfig};
use crate::message::Fields;

/// Where an operator lists the addresses that are not public, for those who are refused.
const ALLOW_PRIVATE: &str = "[dialect.redis] allow_private";

/// The port of a server that names none.
const PORT: u16 = 6_379;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);

/// How long an answer may take, beside what was asked to be waited.
const ANSWER: Duration = Duration::from_secs(10);

/// Where Redis is.
pub(crate) struct Link {
    host: String,
    port: u16,
    is_secured: bool,
    user: Option<String>,
    database: i64,
    password: Option<SecretRef>,
    guard: Guard,
}

/// What is wrong between here and Redis; holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Trouble(String);

impl From<RedisError> for Trouble {
    fn from(error: RedisError) -> Self {
        Self(limit::clip(&error.to_string(), limit::NOTE_BYTES_MAX))
    }
}

/// A message of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: String,
    /// None of one that was taken out of the stream before anybody had read it.
    pub(crate) fields: Fields,
}

impl Link {
    /// To the server of a configuration. Nothing is sent yet.
    pub(crate) fn new(config: &RedisConfig) -> Result<Self, ConfigError> {
        let wrong = |why: &str| ConfigError::new("redis.url", why.to_owned());
        let form = "must be an address such as `rediss://redis.example:6379/0`; a password is named by `password`";
        let url: Url = config.url.parse().map_err(|_| wrong(form))?;
        let is_secured = match url.scheme() {
            "redis" => false,
            "rediss" => true,
            _ => return Err(wrong(form)),
        };
        if url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong(form));
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong(form))?.to_owned();
        let database = match url.path().trim_matches('/') {
            "" => 0,
            number => number.parse().ok().filter(|number: &i64| *number >= 0).ok_or_else(|| wrong(form))?,
        };
        let user = percent_encoding::percent_decode_str(url.username()).decode_utf8().map_err(|_| wrong(form))?;
        let user = (!user.is_empty()).then(|| user.into_owned());
        let password = config.password.as_deref().map(|text| secret("redis.password", text)).transpose()?;
        let guard = Guard::new(&config.allow_private, ALLOW_PRIVATE)
            .map_err(|error| ConfigError::new("redis.allow_private", error.to_string()))?;
        let scheme = if is_secured { "https" } else { "http" };
        let judged: Url = format!("{scheme}://{host}/").parse().map_err(|_| wrong(form))?;
        guard.literal(&judged).map_err(|refused| wrong(&refused.to_string()))?;
        if password.is_some() && !may_carry_secrets(&judged, !config.allow_private.is_empty()) {
            return Err(wrong(
                "would carry the password in the clear: use `rediss://`, or list the private addresses that it is at in `allow_private`",
            ));
        }
        let port = url.port().unwrap_or(PORT);
        Ok(Self { host, port, is_secured, user, database, password, guard })
    }

    /// What keeps the password from being read right now.
    pub(crate) async fn unavailable(&self) -> Option<SecretError> {
        resolve(self.password.as_ref()?).await.err()
    }

    /// A connection, which waits at most so long for an answer beside its own patience.
    pub(crate) async fn connect(
        &self,
        waits: Duration,
        ambient: &Surroundings,
    ) -> Result<MultiplexedConnection, Trouble> {
        let connected = ambient.timeout(CONNECT, self.connected(waits, ambient)).await;
        connected.unwrap_or_else(|| Err(Trouble(format!("no connection within {CONNECT:?}"))))
    }

    async fn connected(&self, waits: Duration, ambient: &Surroundings) -> Result<MultiplexedConnection, Trouble> {
        let told = |error: &dyn std::error::Error| Trouble(error.to_string());
        let mut info = RedisConnectionInfo::default().set_db(self.database).set_protocol(ProtocolVersion::RESP2);
        if let Some(user) = &self.user {
            info = info.set_username(user);
        }
        if let Some(reference) = &self.password {
            info = info.set_password(resolve(reference).await.map_err(|error| told(&error))?.expose());
        }
        let stream = dial(&self.guard, &self.host, self.port).await.map_err(|error| told(&error))?;
        // Small commands one after the other: none waits for the next.
        stream.set_nodelay(true).map_err(|error| told(&error))?;
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(waits + ANSWER));
        if self.is_secured {
            let stream = secure(stream, &self.host, None).await.map_err(|error| told(&error))?;
            let (connection, driver) = MultiplexedConnection::new_with_config(&info, stream, config).await?;
            ambient.spawn(driver).detach();
            return Ok(connection);
        }
        let (connection, driver) = MultiplexedConnection::new_with_config(&info, stream, config).await?;
        ambient.spawn(driver).detach();
        Ok(connection)
    }
}

/// Sees to it that a group is there, and its stream.
pub(crate) async fn make_group(
    connection: &mut MultiplexedConnection,
    stream: &str,
    group: &str,
) -> Result<(), Trouble> {
    // From the first message on: what was sent before there was a group is meant, too.
    let made: Result<Value, RedisError> =
        cmd("XGROUP").arg("CREATE").arg(stream).arg(group).arg("0").arg("MKSTREAM").query_async(connection).await;
    match made {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Messages of a group: behind one that this consumer has not acknowledged, or (`>`) that nobody has had.
pub(crate) async fn read(
    connection: &mut MultiplexedConnection,
    (stream, group, consumer): (&str, &str, &str),
    count: usize,
    waits: Option<Duration>,
    after: &str,
) -> Result<Vec<Message>, Trouble> {
    let mut command = cmd("XREADGROUP");
    command.arg("GROUP").arg(group).arg(consumer).arg("COUNT").arg(count);
    if let Some(waits) = waits {
        command.arg("BLOCK").arg(millis(waits));
    }
    command.arg("STREAMS").arg(stream).arg(after);
    let answer: Value = command.query_async(connection).await?;
    Ok(streams(answer))
}

/// Takes over what other consumers have left for so long; how many that were.
pub(crate) async fn claim(
    connection: &mut MultiplexedConnection,
    (stream, group, consumer): (&str, &str, &str),
    idle: Duration,
) -> Result<usize, Trouble> {
    let (mut from, mut claimed) = ("0-0".to_owned(), 0);
    loop {
        let mut command = cmd("XAUTOCLAIM");
        command.arg(stream).arg(group).arg(consumer).arg(millis(idle)).arg(&from).arg("COUNT").arg(100).arg("JUSTID");
        let answer: Value = command.query_async(connection).await?;
        let Value::Array(parts) = answer else { return Err(Trouble("XAUTOCLAIM answered something else".to_owned())) };
        let mut parts = parts.into_iter();
        from = parts.next().as_ref().and_then(text).unwrap_or_default();
        if let Some(Value::Array(ids)) = parts.next() {
            claimed += ids.len();
        }
        if from.is_empty() || from == "0-0" {
            return Ok(claimed);
        }
    }
}

/// A command that adds fields to a stream.
pub(crate) fn add<'a>(stream: &str, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Cmd {
    let mut command = cmd("XADD");
    command.arg(stream).arg("*");
    for (name, value) in fields {
        command.arg(name).arg(value);
    }
    command
}

/// A command that acknowledges a message.
pub(crate) fn acknowledge(stream: &str, group: &str, id: &str) -> Cmd {
    let mut command = cmd("XACK");
    command.arg(stream).arg(group).arg(id);
    command
}

/// One command.
pub(crate) async fn send(connection: &mut MultiplexedConnection, command: Cmd) -> Result<(), Trouble> {
    let _: Value = command.query_async(connection).await?;
    Ok(())
}

/// One command that Redis may turn down: why, where it is there and does.
pub(crate) async fn offer(connection: &mut MultiplexedConnection, command: Cmd) -> Result<Option<String>, Trouble> {
    let answer: Result<Value, RedisError> = command.query_async(connection).await;
    match answer {
        Ok(_) => Ok(None),
        Err(error) if error.code().is_some() => Ok(Some(Trouble::from(error).to_string())),
        Err(error) => Err(error.into()),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The messages of an answer: of each stream a pair of its name and its entries.
fn streams(answer: Value) -> Vec<Message> {
    let Value::Array(streams) = answer else { return Vec::new() };
    let entries = streams.into_iter().filter_map(|stream| match stream {
        Value::Array(pair) => pair.into_iter().nth(1),
        _ => None,
    });
    let entries = entries.flat_map(|entries| match entries {
        Value::Array(entries) => entries,
        _ => Vec::new(),
    });
    entries.filter_map(message).collect()
}

fn message(entry: Value) -> Option<Message> {
    let Value::Array(pair) = entry else { return None };
    let mut pair = pair.into_iter();
    let id = text(&pair.next()?)?;
    let mut fields = Fields::new();
    if let Some(Value::Array(told)) = pair.next() {
        let mut told = told.into_iter();
        while let (Some(name), Some(value)) = (told.next(), told.next()) {
            fields.insert(String::from_utf8_lossy(&bytes(name)).into_owned(), bytes(value));
        }
    }
    Some(Message { id, fields })
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}

fn bytes(value: Value) -> Vec<u8> {
    match value {
        Value::BulkString(bytes) => bytes,
        Value::SimpleString(text) => text.into_bytes(),
        Value::Int(number) => number.to_string().into_bytes(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn messages_are_read_whatever_their_fields_hold() {
        let entry = |id: &str, fields: Value| Value::Array(vec![bulk(id), fields]);
        let odd =
            Value::Array(vec![Value::BulkString(vec![0xff]), bulk("x"), bulk("a"), Value::BulkString(vec![0, 0xff])]);
        let entries = Value::Array(vec![entry("1-0", odd), entry("2-0", Value::Nil), Value::Nil]);
        let found = streams(Value::Array(vec![Value::Array(vec![bulk("stream"), entries])]));
        assert_eq!(found.iter().map(|message| message.id.as_str()).collect::<Vec<_>>(), ["1-0", "2-0"]);
        assert_eq!((found[0].fields["a"].as_slice(), found[0].fields.len()), (&[0, 0xff][..], 2));
        assert!(found[1].fields.is_empty());
        for nothing in [Value::Nil, Value::Okay, Value::Array(Vec::new()), Value::Array(vec![Value::Nil])] {
            assert_eq!(streams(nothing), []);
        }
    }

    #[test]
    fn an_address_that_cannot_be_meant_is_refused_and_no_secret_repeated() {
        let link = |text: &str| {
            let config: RedisConfig = toml::from_str(text).expect("a section");
            Link::new(&config).map(|link| (link.host, link.port, link.database, link.user))
        };
        let public = link("url = \"rediss://some%40one@redis.example/3\"\npassword = \"env://A\"");
        assert_eq!(public, Ok(("redis.example".to_owned(), 6_379, 3, Some("some@one".to_owned()))));
        let inside = link("url = \"redis://127.0.0.1:7000\"\npassword = \"env://A\"\nallow_private = [\"127.0.0.1\"]");
        assert_eq!(inside, Ok(("127.0.0.1".to_owned(), 7_000, 0, None)));
        for (text, told) in [
            ("url = \"redis://:hush@redis.example\"", "password"),
            ("url = \"http://redis.example\"", "rediss://"),
            ("url = \"redis:///0\"", "rediss://"),
            ("url = \"redis://redis.example/x\"", "rediss://"),
            ("url = \"redis://127.0.0.1\"", "[dialect.redis] allow_private"),
            ("url = \"redis://redis.example\"\npassword = \"env://A\"", "in the clear"),
            ("url = \"rediss://redis.example\"\npassword = \"hush\"", "redis.password"),
            ("url = \"rediss://redis.example\"\nallow_private = [\"x\"]", "allow_private"),
        ] {
            let error = link(text).expect_err(text).to_string();
            assert!(error.contains(told) && !error.contains("hush"), "{text}: {error}");
        }
    }
}
