//! Which upstreams are left alone for a while.
//!
//! An upstream that has failed several times in a row rests; then one request
//! is let through to see how it is, and the others still wait for its outcome.
//! One that limits pulls is not asked for manifests until it said it would
//! answer again.

use std::time::{Duration, Instant, SystemTime};

use dashmap::DashMap;
use http::{HeaderMap, header};

use super::{Error, Site, Upstream, Why, clock::Clock, metrics::Kind};

/// Failures in a row that make an upstream rest.
const FAILURES: u32 = 5;
/// The first rest; each further one is twice as long.
const SHORTEST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);
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

/// What is known of the upstreams that are unwell. One that is well takes no
/// room.
#[derive(Debug)]
pub(crate) struct Weather {
    skies: DashMap<Site, Sky, ahash::RandomState>,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Sky {
    /// Failures in a row, before it rests.
    failures: u32,
    /// Rests in a row.
    rests: u32,
    rests_until: Option<Instant>,
    /// Whether a request is under way that ends the rests if it goes well.
    is_probed: bool,
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

    /// Whether `upstream` may be asked now. Whoever is let through must
    /// [`Self::report`] how it went.
    pub(crate) fn admit(&self, upstream: &Upstream, kind: Kind) -> Result<(), Error> {
        let Some(mut sky) = self.skies.get_mut(&upstream.site()) else {
            return Ok(());
        };
        let now = self.clock.now();
        if let Some(left) = left(sky.limited_until, now)
            && kind == Kind::Manifest
        {
            return Err(Error::RateLimited {
                upstream: upstream.name.clone(),
                retry_after: left,
            });
        }
        if let Some(left) = left(sky.rests_until, now) {
            return Err(Error::Unavailable {
                upstream: upstream.name.clone(),
                why: Why::Resting,
                retry_after: left,
            });
        }
        if sky.rests > 0 {
            // This one is the probe; the others rest until it is back.
            sky.is_probed = true;
            sky.rests_until = Some(now + rest(sky.rests));
        }
        Ok(())
    }

    /// Notes how a request to `upstream` went: `failure` is None for any
    /// answer that is no weather.
    pub(crate) fn report(&self, upstream: &Upstream, failure: Option<&Error>) {
        let site = upstream.site();
        match failure {
            None => self.clear_up(site),
            Some(Error::RateLimited { retry_after, .. }) => {
                let until = self.clock.now() + *retry_after;
                self.skies.entry(site).or_default().limited_until = Some(until);
            }
            Some(_) => {
                let now = self.clock.now();
                self.skies.entry(site).or_default().darken(now);
            }
        }
    }

    /// Notes that `remaining` pulls are left of the quota.
    pub(crate) fn note_quota(&self, upstream: &Upstream, remaining: i64) {
        if remaining <= QUOTA_FLOOR {
            let until = self.clock.now() + QUOTA_MEMORY;
            self.skies
                .entry(upstream.site())
                .or_default()
                .low_quota_until = Some(until);
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

    fn clear_up(&self, site: Site) {
        let now = self.clock.now();
        if let Some(mut sky) = self.skies.get_mut(&site) {
            *sky = Sky {
                limited_until: sky.limited_until,
                low_quota_until: sky.low_quota_until,
                ..Sky::default()
            };
        }
        self.skies.remove_if(&site, |_, sky| {
            sky.failures == 0
                && left(sky.limited_until, now).is_none()
                && left(sky.low_quota_until, now).is_none()
        });
    }
}

impl Sky {
    /// Notes a failure. Those of requests that were under way when the rest
    /// began say nothing new, however many they are.
    fn darken(&mut self, now: Instant) {
        if self.is_probed {
            self.is_probed = false;
        } else if left(self.rests_until, now).is_some() {
            return;
        } else {
            self.failures += 1;
            if self.failures < FAILURES {
                return;
            }
        }
        self.rests = self.rests.saturating_add(1);
        self.rests_until = Some(now + rest(self.rests));
    }
}

/// `ratelimit-remaining: 76;w=21600`: 76.
pub(crate) fn remaining_quota(headers: &HeaderMap) -> Option<i64> {
    let value = headers.get("ratelimit-remaining")?.to_str().ok()?;
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
        why,
        retry_after: headers.and_then(retry_after).unwrap_or(USUAL_RETRY),
    }
}

/// `Retry-After`, in seconds or as a date (RFC 9110, section 10.2.3), as far as
/// it is believed.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
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

/// How long the nth rest in a row is.
fn rest(n: u32) -> Duration {
    let doublings = n.saturating_sub(1).min(16);
    (SHORTEST_REST * (1 << doublings)).min(LONGEST_REST)
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

    fn down() -> Error {
        unavailable(&upstream(), Why::Unreachable, None)
    }

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())])
    }

    #[test]
    fn an_upstream_that_fails_again_and_again_rests_then_gets_one_probe() {
        let (clock, hub) = (Clock::default(), upstream());
        let weather = Weather::new(clock.clone());
        for _ in 0..FAILURES {
            weather.admit(&hub, Kind::Blob).unwrap();
            weather.report(&hub, Some(&down()));
        }
        assert!(weather.admit(&hub, Kind::Blob).is_err());

        clock.advance(SHORTEST_REST + Duration::from_millis(1));

        assert!(weather.admit(&hub, Kind::Blob).is_ok());
        assert!(weather.admit(&hub, Kind::Blob).is_err());
        weather.report(&hub, None);
        assert!(weather.admit(&hub, Kind::Blob).is_ok());
        assert!(weather.skies.is_empty());
    }

    #[test]
    fn a_probe_that_fails_makes_the_rest_longer() {
        let (clock, hub) = (Clock::default(), upstream());
        let weather = Weather::new(clock.clone());
        for _ in 0..FAILURES {
            weather.report(&hub, Some(&down()));
        }
        clock.advance(SHORTEST_REST + Duration::from_millis(1));
        weather.admit(&hub, Kind::Blob).unwrap();
        weather.report(&hub, Some(&down()));

        clock.advance(SHORTEST_REST + Duration::from_millis(1));

        assert!(weather.admit(&hub, Kind::Blob).is_err());
        clock.advance(SHORTEST_REST);
        assert!(weather.admit(&hub, Kind::Blob).is_ok());
    }

    #[test]
    fn a_hundred_failures_at_a_time_do_not_make_the_rest_longer() {
        let (clock, hub) = (Clock::default(), upstream());
        let weather = Weather::new(clock.clone());
        for _ in 0..100 {
            weather.report(&hub, Some(&down()));
        }

        clock.advance(SHORTEST_REST + Duration::from_millis(1));

        assert!(weather.admit(&hub, Kind::Blob).is_ok());
    }

    #[test]
    fn a_limit_on_manifests_does_not_hold_up_blobs() {
        let (clock, hub) = (Clock::default(), upstream());
        let weather = Weather::new(clock.clone());
        let limit = rate_limited(&hub, &headers("retry-after", "60"));

        weather.report(&hub, Some(&limit));

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
