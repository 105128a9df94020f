//! Upstreams that limit pulls, and what answers say about when to come again.
//!
//! An upstream that limits pulls is not asked for manifests until it said it
//! would answer again.

use std::time::{Duration, Instant, SystemTime};

use dashmap::DashMap;
use http::{HeaderMap, header};

use super::{
    Error, Place, Site, Upstream, Why, clock::Clock, header_text::header_text, metrics::Kind,
};

/// What is believed of a `Retry-After`, and what stands in for a missing one.
const LONGEST_LIMIT: Duration = Duration::from_secs(600);
const USUAL_LIMIT: Duration = Duration::from_secs(10);
/// When to ask an upstream that is down again, if it does not say.
const USUAL_RETRY: Duration = Duration::from_secs(2);
/// At this many pulls left, tags are no longer asked for again while they can
/// be served from the cache.
const QUOTA_FLOOR: i64 = 5;
/// How long a quota that was read is believed.
const QUOTA_MEMORY: Duration = Duration::from_secs(300);

/// The rate limits that upstreams have announced. An upstream without one has no
/// entry.
#[derive(Debug)]
pub(crate) struct Weather {
    skies: DashMap<Site, Sky, ahash::RandomState>,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Sky {
    limited_until: Option<Instant>,
    low_quota_until: Option<Instant>,
}

impl Weather {
    /// Fine everywhere.
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            skies: DashMap::default(),
            clock,
        }
    }

    /// Whether `upstream` may be asked now.
    pub(crate) fn admit(&self, upstream: &Upstream, kind: Kind) -> Result<(), Error> {
        let sky = self.skies.get(&upstream.site());
        let limited_until = sky.and_then(|sky| sky.limited_until);
        match left(limited_until, self.clock.now()) {
            Some(retry_after) if kind == Kind::Manifest => Err(Error::RateLimited {
                upstream: upstream.name.clone(),
                retry_after,
            }),
            _ => Ok(()),
        }
    }

    /// Notes that `upstream` gives out no manifests for `retry_after`.
    pub(crate) fn limit(&self, upstream: &Upstream, retry_after: Duration) {
        let until = self.clock.now() + retry_after;
        self.sky(upstream, |sky| sky.limited_until = Some(until));
    }

    /// Notes that `remaining` pulls are left of the quota.
    pub(crate) fn note_quota(&self, upstream: &Upstream, remaining: i64) {
        if remaining <= QUOTA_FLOOR {
            let until = self.clock.now() + QUOTA_MEMORY;
            self.sky(upstream, |sky| sky.low_quota_until = Some(until));
        } else if let Some(mut sky) = self.skies.get_mut(&upstream.site()) {
            sky.low_quota_until = None;
        }
    }

    /// Whether pulls are too precious to ask for what is in the cache.
    pub(crate) fn is_quota_low(&self, upstream: &Upstream) -> bool {
        self.skies
            .get(&upstream.site())
            .is_some_and(|sky| left(sky.low_quota_until, self.clock.now()).is_some())
    }

    fn sky(&self, upstream: &Upstream, note: impl FnOnce(&mut Sky)) {
        let now = self.clock.now();
        self.skies.retain(|_, sky| {
            left(sky.limited_until, now).is_some() || left(sky.low_quota_until, now).is_some()
        });
        note(&mut self.skies.entry(upstream.site()).or_default());
    }
}

/// `ratelimit-remaining: 76;w=21600`: 76.
pub(crate) fn remaining_quota(headers: &HeaderMap) -> Option<i64> {
    let value = header_text(headers.get("ratelimit-remaining")?);
    value.split(';').next()?.trim().parse().ok()
}

/// The error for a 429.
pub(crate) fn rate_limited(upstream: &Upstream, headers: &HeaderMap) -> Error {
    Error::RateLimited {
        upstream: upstream.name.clone(),
        retry_after: retry_after(headers).unwrap_or(USUAL_LIMIT),
    }
}

/// The error for an upstream that is down.
pub(crate) fn unavailable(upstream: &Upstream, why: Why, headers: Option<&HeaderMap>) -> Error {
    Error::Unavailable {
        upstream: upstream.name.clone(),
        place: Place::Upstream,
        why,
        retry_after: headers.and_then(retry_after).unwrap_or(USUAL_RETRY),
    }
}

/// `Retry-After`, in seconds or as a date (RFC 9110, section 10.2.3), as far as
/// it is believed.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = header_text(headers.get(header::RETRY_AFTER)?);
    let value = value.trim();
    let seconds = value.parse().ok().map(Duration::from_secs);
    let told = seconds.or_else(|| {
        let then = httpdate::parse_http_date(value).ok()?;
        // By the upstream's clock, where it tells the time.
        let now = date(headers).unwrap_or_else(SystemTime::now);
        Some(then.duration_since(now).unwrap_or_default())
    });
    Some(told?.min(LONGEST_LIMIT))
}

fn date(headers: &HeaderMap) -> Option<SystemTime> {
    let date = headers.get(header::DATE)?.to_str().ok()?;
    httpdate::parse_http_date(date).ok()
}

fn left(until: Option<Instant>, now: Instant) -> Option<Duration> {
    until?.checked_duration_since(now).filter(|d| !d.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream() -> Upstream {
        Upstream::new("hub", "https://r.example".parse().unwrap(), None, true)
    }

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())])
    }

    #[test]
    fn a_limit_on_manifests_does_not_hold_up_blobs() {
        let (clock, hub) = (Clock::default(), upstream());
        let weather = Weather::new(clock.clone());
        let limit = rate_limited(&hub, &headers("retry-after", "60"));

        weather.limit(&hub, limit.retry_after().unwrap());

        assert!(weather.admit(&hub, Kind::Blob).is_ok());
        let error = weather.admit(&hub, Kind::Manifest).unwrap_err();
        assert!(error.retry_after().unwrap() > Duration::from_secs(58));
        clock.advance(Duration::from_secs(61));
        assert!(weather.admit(&hub, Kind::Manifest).is_ok());
    }

    #[test]
    fn a_date_to_come_again_is_read_by_the_upstreams_own_clock() {
        let dates = |date: &str, then: &str| {
            let mut headers = headers("date", date);
            headers.insert(header::RETRY_AFTER, then.parse().unwrap());
            retry_after(&headers)
        };
        let noon = "Fri, 07 Nov 2014 12:00:00 GMT";

        let later = dates(noon, "Fri, 07 Nov 2014 12:01:30 GMT");
        assert_eq!(later, Some(Duration::from_secs(90)));
        let earlier = dates(noon, "Fri, 07 Nov 2014 11:00:00 GMT");
        assert_eq!(earlier, Some(Duration::ZERO));
        assert_eq!(dates(noon, "7"), Some(Duration::from_secs(7)));
        assert_eq!(dates(noon, "soon"), None);
        let by_own_clock = retry_after(&headers("retry-after", "Fri, 07 Nov 2014 12:00:00 GMT"));
        assert_eq!(by_own_clock, Some(Duration::ZERO));
    }

    #[test]
    fn a_quota_is_read_and_forgotten() {
        let (clock, hub) = (Clock::default(), upstream());
        let weather = Weather::new(clock.clone());
        let remaining = remaining_quota(&headers("ratelimit-remaining", "3;w=21600")).unwrap();

        weather.note_quota(&hub, remaining);

        assert!(weather.is_quota_low(&hub));
        clock.advance(QUOTA_MEMORY + Duration::from_secs(1));
        assert!(!weather.is_quota_low(&hub));
    }
}
