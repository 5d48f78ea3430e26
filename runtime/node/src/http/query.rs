//! The parameters of queries: a route that takes any has a struct of them, from which they are read and described.
//!
//! Owned here: how a struct is read of a query, and the parameters that several lists have. Never here: what a list does with them.

use std::fmt;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use schemars::JsonSchema;
use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use sortie_contract::time::rfc3339;
use sortie_contract::{MissionNo, Timestamp, limit};

use super::error::Problem;
use super::forward::NODE;

/// Most items of a page.
const PAGE_MAX: usize = 500;

/// The query of a request, read as a `T`: each field is a parameter. What is no field is refused.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // That one is taken out before: it says who is asked.
        read_beside(parts.uri.query().unwrap_or_default(), &[NODE]).map(Self)
    }
}

/// That a query has no parameters, where there are none: one that has no effect was meant to have one.
pub(super) struct NoParameters;

impl<S: Sync> FromRequestParts<S> for NoParameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).next() {
            Some((key, _)) => {
                let key = limit::clip(&key, limit::QUOTE_BYTES_MAX);
                Err(Problem::bad_request(format!("there is no parameter `{key}` here")))
            }
            None => Ok(Self),
        }
    }
}

/// Reads a query. A list may be split by commas and over several parameters of its name; anything else is there once.
pub(crate) fn read<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    read_beside(query, &[])
}

/// The same, where there are these parameters beside those that are read.
fn read_beside<T: DeserializeOwned>(query: &str, beside: &[&str]) -> Result<T, Problem> {
    let mut pairs: Vec<(String, Vec<String>)> = Vec::new();
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match pairs.iter_mut().find(|(known, _)| *known == key) {
            Some((_, values)) => values.push(value.into_owned()),
            None => pairs.push((key.into_owned(), vec![value.into_owned()])),
        }
    }
    let mut at = "";
    let reader = Pairs { pairs: pairs.iter(), values: &[], at: &mut at };
    T::deserialize(reader).map_err(|wrong| {
        let at = limit::clip(at, limit::QUOTE_BYTES_MAX);
        Problem::bad_request(match wrong {
            Wrong::Unknown(known) => {
                format!("there is no parameter `{at}` here; there are {}", listed(&[known, beside].concat()))
            }
            Wrong::Value(wanted) => format!("the parameter `{at}` must be {wanted}"),
        })
    })
}

/// Names with their marks, one after the other.
fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Why a query is not read.
#[derive(Debug)]
enum Wrong {
    /// There is no such parameter; there are these.
    Unknown(&'static [&'static str]),
    /// What its value must be.
    Value(String),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(_) => f.write_str("there is no such parameter"),
            Self::Value(wanted) => write!(f, "it must be {wanted}"),
        }
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(wanted: T) -> Self {
        Self::Value(wanted.to_string())
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Self::Unknown(known)
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        Self::Value(format!("one of {}", listed(known)))
    }
}

/// The parameters of a query, one after the other.
struct Pairs<'q, 'a> {
    pairs: std::slice::Iter<'q, (String, Vec<String>)>,
    values: &'q [String],
    /// Which parameter is being read.
    at: &'a mut &'q str,
}

impl<'de, 'q> Deserializer<'de> for Pairs<'q, '_> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_map(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, 'q> MapAccess<'de> for Pairs<'q, '_> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Wrong> {
        let Some((key, values)) = self.pairs.next() else { return Ok(None) };
        (*self.at, self.values) = (key, values);
        let key: StrDeserializer<'_, Wrong> = key.as_str().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        seed.deserialize(Values(self.values))
    }
}

/// What a parameter was given: more than one value where it is there several times.
struct Values<'q>(&'q [String]);

impl<'q> Values<'q> {
    /// The only value: of two, one would have no effect.
    fn only(&self) -> Result<&'q str, Wrong> {
        match self.0 {
            [only] => Ok(only),
            _ => Err(Wrong::Value("given once".to_owned())),
        }
    }
}

impl<'de> Deserializer<'de> for Values<'_> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_str(self.only()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        // A sign is none of a number that has no other.
        let digits = self.only()?;
        let number = digits.parse().ok().filter(|_| digits.bytes().all(|digit| digit.is_ascii_digit()));
        visitor.visit_u64(number.ok_or_else(|| Wrong::Value("a number".to_owned()))?)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let name: StrDeserializer<'_, Wrong> = self.only()?.into_deserializer();
        visitor.visit_enum(name)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_seq(Items(self.0.iter().flat_map(|value| value.split(',')))).map_err(|wrong| match wrong {
            Wrong::Value(wanted) => Wrong::Value(format!("{wanted}, or several with commas")),
            unknown @ Wrong::Unknown(_) => unknown,
        })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple tuple_struct map
        struct identifier ignored_any
    }
}

/// The items of a list.
struct Items<I>(I);

impl<'de, 'q, I: Iterator<Item = &'q str>> SeqAccess<'de> for Items<I> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Wrong> {
        self.0.next().map(|item| seed.deserialize(Values(&[item.to_owned()]))).transpose()
    }
}

/// Which page of a list, and how long a page is.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PageQuery {
    /// Where to go on: the `next_cursor` of the page before.
    pub(super) cursor: Option<Cursor>,
    /// Most items of the page. More than 500 are never on one.
    pub(super) limit: Option<PageSize>,
}

/// Where a page begins: behind the mission of this number.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(transparent)]
pub(super) struct Cursor(#[schemars(with = "String", regex(pattern = "^[0-9]{1,19}$"))] pub(super) MissionNo);

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = String::deserialize(source)?;
        let no = text.parse().ok().filter(|_| text.bytes().all(|digit| digit.is_ascii_digit()));
        no.map(|no| Self(MissionNo(no))).ok_or_else(|| de::Error::custom("the `next_cursor` of a page"))
    }
}

/// How many items a page has at most. More than a page ever holds is no mistake: `next_cursor` tells that there is more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(transparent)]
pub(super) struct PageSize(#[schemars(range(min = 1))] pub(super) usize);

impl<'de> Deserialize<'de> for PageSize {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = String::deserialize(source)?;
        let is_number = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
        // However many digits it has.
        let size = text.parse().unwrap_or(PAGE_MAX).min(PAGE_MAX);
        if is_number && size > 0 { Ok(Self(size)) } else { Err(de::Error::custom("a number above 0")) }
    }
}

/// A choice: `true` or `false`.
#[derive(Debug, Clone, Copy, Default, JsonSchema)]
#[schemars(transparent)]
pub(super) struct Flag(pub(super) bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        match String::deserialize(source)?.as_str() {
            "true" => Ok(Self(true)),
            "false" => Ok(Self(false)),
            _ => Err(de::Error::custom("`true` or `false`")),
        }
    }
}

/// A moment.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(transparent)]
pub(super) struct Moment(#[schemars(with = "String", extend("format" = "date-time"))] pub(super) Timestamp);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let moment = rfc3339(&String::deserialize(source)?);
        moment.map(Self).map_err(|_| de::Error::custom("an RFC 3339 time such as 2026-11-22T20:00:00Z"))
    }
}

#[cfg(test)]
mod tests {
    use sortie_contract::Status;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct All {
        status: Vec<Status>,
        q: Option<String>,
        cursor: Option<Cursor>,
        limit: Option<PageSize>,
        after: Option<u64>,
        since: Option<Moment>,
        dry_run: Option<Flag>,
    }

    #[test]
    fn a_query_is_read_or_says_what_is_wrong_with_it() {
        type Is = fn(&All) -> bool;
        let right: [(&str, Is); 11] = [
            ("", |all| all.status.is_empty() && all.q.is_none()),
            ("status=queued", |all| all.status == [Status::Queued]),
            ("status=queued,running", |all| all.status == [Status::Queued, Status::Running]),
            ("status=queued&status=running", |all| all.status == [Status::Queued, Status::Running]),
            ("q=a%20b%2Cc+d", |all| all.q.as_deref() == Some("a b,c d")),
            ("cursor=7", |all| all.cursor.is_some_and(|cursor| cursor.0 == MissionNo(7))),
            ("limit=3", |all| all.limit == Some(PageSize(3))),
            ("limit=501", |all| all.limit == Some(PageSize(500))),
            ("limit=99999999999999999999999", |all| all.limit == Some(PageSize(500))),
            ("dry_run=true", |all| all.dry_run.is_some_and(|Flag(flag)| flag)),
            ("after=4&since=2026-11-22T20:00:00Z", |all| all.after == Some(4) && all.since.is_some()),
        ];
        for (query, is) in right {
            let all = read::<All>(query).map_err(|problem| problem.body());
            assert!(all.as_ref().is_ok_and(is), "{query}: {all:?}");
        }
        for (query, expected) in [
            ("statu=queued", "there is no parameter `statu` here; there are `status`, `q`, `cursor`"),
            ("status=queud", "the parameter `status` must be one of `queued`, `running`"),
            ("status=queud", "or several with commas"),
            ("status=", "the parameter `status` must be one of"),
            ("q=a&cursor=x", "the parameter `cursor` must be the `next_cursor` of a page"),
            ("limit=2&limit=3", "the parameter `limit` must be given once"),
            ("q=a&q=a", "the parameter `q` must be given once"),
            ("after=1&after=2", "the parameter `after` must be given once"),
            ("limit=0", "the parameter `limit` must be a number above 0"),
            ("limit=-1", "a number above 0"),
            ("limit=", "a number above 0"),
            ("after=x", "the parameter `after` must be a number"),
            ("after=%2B1", "the parameter `after` must be a number"),
            ("cursor=%2B1", "the parameter `cursor` must be the `next_cursor` of a page"),
            ("dry_run=yes", "the parameter `dry_run` must be `true` or `false`"),
            ("dry_run", "the parameter `dry_run` must be `true` or `false`"),
            ("since=today", "the parameter `since` must be an RFC 3339 time"),
        ] {
            let problem = read::<All>(query).expect_err(query).body();
            assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(expected)), "{query}: {problem}");
        }
    }
}
