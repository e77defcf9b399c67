//! Which servers have cookies: known from replies that brought back a client cookie, which nobody can who does not
//! see the query. From then on, for a day, a reply of theirs without it is not believed.

use crate::edns::Added;
use crate::habits::{self, What};
use crate::ingress::Reply;
use crate::layout::{COOKIES, Cookie, Counter, Event, flags};
use crate::{Address, Tables};

/// What a query gets for which there is room. Those of clients that cannot do TCP get nothing: they could not ask
/// again.
#[inline(always)]
pub fn added<T: Tables>(tables: &T, client: Address, server: Address, room: Added) -> Added {
    let wanted = room != Added::Nothing
        && tables.config().has(flags::COOKIES)
        && !tables.without_tcp(client)
        && !habits::is_left_alone(tables, server, What::Cookies);
    if wanted { room } else { Added::Nothing }
}

/// The server cookie that a server gave to an address.
#[inline(always)]
pub fn of_server<T: Tables>(tables: &T, source: Address, server: Address) -> Option<[u64; 2]> {
    let known = known(tables, source, server)?;
    let [high, low] = &known.cookie;
    (known.given.load() != 0).then(|| [high.load(), low.load()])
}

/// What to make of a right reply to a query to which this was added: whether it can be passed on.
#[inline(always)]
pub(crate) fn is_fine<T: Tables>(
    tables: &T,
    reply: &Reply<'_>,
    added: Added,
    event: &Event,
) -> bool {
    let (source, server, brought) = (reply.to, reply.server, reply.brought);
    if !brought.read {
        // Its end is in another fragment.
        return added == Added::Option && known(tables, source, server).is_none();
    }
    // A record that the client did not ask for, and that cannot be taken out.
    if added == Added::Record && brought.more && brought.record == 0 {
        return is_wrong(tables, server, event);
    }
    if brought.cookie {
        tables.count(Counter::CookieReturned);
        note(tables, source, server, brought.server);
        habits::kept(tables, server, What::Cookies);
        return !brought.bad;
    }
    if !brought.refused && known(tables, source, server).is_none() {
        habits::kept(tables, server, What::Cookies);
        return true;
    }
    is_wrong(tables, server, event)
}

/// No reply as it should be.
#[inline(always)]
fn is_wrong<T: Tables>(tables: &T, server: Address, event: &Event) -> bool {
    tables.count(Counter::CookieMissing);
    tables.tell(event);
    habits::broken(tables, server, What::Cookies);
    false
}

/// What an address knows of a server, if that has cookies.
#[inline(always)]
fn known<T: Tables>(tables: &T, source: Address, server: Address) -> Option<&Cookie> {
    let (known, tag) = place(tables, source, server)?;
    let lasts = habits::is_to_come(known.until.load(), tables.now());
    (lasts && known.source.load() == tag && server.is(&known.address)).then_some(known)
}

/// The place of an address and a server, and what stands there for the address.
#[inline(always)]
fn place<T: Tables>(tables: &T, source: Address, server: Address) -> Option<(&Cookie, u64)> {
    let mixed = source.mixed(server, tables.config().key[1]);
    Some((tables.cookie(mixed as u32 & (COOKIES - 1))?, mixed))
}

/// Notes that a server has cookies, and the one that it gave.
#[inline(always)]
fn note<T: Tables>(tables: &T, source: Address, server: Address, cookie: Option<[u64; 2]>) {
    let Some((place, tag)) = place(tables, source, server) else { return };
    if place.source.load() != tag || !server.is(&place.address) {
        place.given.store(0);
        place.source.store(tag);
        server.store(&place.address);
    }
    if let Some([high, low]) = cookie {
        place.cookie[0].store(high);
        place.cookie[1].store(low);
        place.given.store(1);
    }
    place.until.store(habits::in_a_day(tables.now()));
}
