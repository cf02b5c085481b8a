//! What is refused, by kind, and how often.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::StatusCode;
use serde::Serialize;

/// So many refusals of a kind are told as events; all are counted. Whoever
/// sends a million requests must not fill the disk with them.
pub const REFUSALS_TOLD_MAX: u64 = 1000;

/// Why a request or a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// No token, a malformed one, or one that nobody has.
    Token,
    /// The id of another client, or an update that another client signed.
    Identity,
    /// No such path, or no such client.
    NotFound,
    /// The path is not asked with this method.
    Method,
    /// The bytes are no HTTP; or the query, the JSON, the binary header or its
    /// checksum is wrong.
    Malformed,
    /// Neither of the two media types.
    MediaType,
    /// The body is larger than it can be.
    TooLarge,
    /// The body was not there in time.
    TooSlow,
    /// An update whose round is over.
    Stale,
    /// An update that is there already.
    Duplicate,
    /// An update that nobody has asked for; devices for which there is no place.
    NotExpected,
    /// Readable, and yet impossible.
    Impossible,
    /// A connection that never became a request: nothing or a part of a head
    /// came in time, or before its sender closed it.
    Silent,
    /// A connection that was used and had no further request in time.
    Idle,
    /// A connection beyond those that one client, or those that nobody knows,
    /// may have.
    Crowded,
    /// A fault of zfl.
    Internal,
}

impl RefusalKind {
    /// All, in their order.
    pub const ALL: [Self; 16] = [
        Self::Token,
        Self::Identity,
        Self::NotFound,
        Self::Method,
        Self::Malformed,
        Self::MediaType,
        Self::TooLarge,
        Self::TooSlow,
        Self::Stale,
        Self::Duplicate,
        Self::NotExpected,
        Self::Impossible,
        Self::Silent,
        Self::Idle,
        Self::Crowded,
        Self::Internal,
    ];

    /// The word for it in the records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Identity => "identity",
            Self::NotFound => "not-found",
            Self::Method => "method",
            Self::Malformed => "malformed",
            Self::MediaType => "media-type",
            Self::TooLarge => "too-large",
            Self::TooSlow => "too-slow",
            Self::Stale => "stale",
            Self::Duplicate => "duplicate",
            Self::NotExpected => "not-expected",
            Self::Impossible => "impossible",
            Self::Silent => "silent",
            Self::Idle => "idle",
            Self::Crowded => "crowded",
            Self::Internal => "internal",
        }
    }

    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::Token => StatusCode::UNAUTHORIZED,
            Self::Identity => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow | Self::Silent | Self::Idle => StatusCode::REQUEST_TIMEOUT,
            Self::Stale | Self::Duplicate | Self::NotExpected => StatusCode::CONFLICT,
            Self::Impossible => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Crowded => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// Why a request is refused.
pub(crate) struct Refusal {
    pub(crate) kind: RefusalKind,
    pub(crate) reason: String,
}

impl Refusal {
    pub(crate) fn new(kind: RefusalKind, reason: impl ToString) -> Self {
        Self {
            kind,
            reason: reason.to_string(),
        }
    }
}

/// How often each kind was refused.
#[derive(Default)]
pub(crate) struct Refusals([AtomicU64; RefusalKind::ALL.len()]);

impl Refusals {
    /// Counts one; whether it is to be told.
    pub(crate) fn count(&self, kind: RefusalKind) -> bool {
        let mut kinds = RefusalKind::ALL.iter().zip(&self.0);
        let counter = kinds.find_map(|(of, counter)| (*of == kind).then_some(counter));
        counter.is_some_and(|counter| counter.fetch_add(1, Ordering::Relaxed) < REFUSALS_TOLD_MAX)
    }

    /// Those that occurred.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let all = RefusalKind::ALL.iter().zip(self.0.iter().map(count));
        all.filter(|(_, count)| *count > 0)
            .map(|(kind, count)| (kind.name(), count))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_counted_and_the_first_are_told() {
        let refusals = Refusals::default();
        for kind in RefusalKind::ALL {
            assert!(refusals.count(kind), "{kind:?}");
            let word = serde_json::to_string(&kind).unwrap();
            assert_eq!(word, format!("\"{}\"", kind.name()));
        }
        for _ in 0..REFUSALS_TOLD_MAX {
            refusals.count(RefusalKind::Token);
        }
        assert!(!refusals.count(RefusalKind::Token));
        assert_eq!(refusals.counts()["token"], REFUSALS_TOLD_MAX + 2);
        assert_eq!(refusals.counts().len(), RefusalKind::ALL.len());
    }
}
