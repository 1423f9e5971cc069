// SPDX-License-Identifier: Apache-2.0
//
// Settled streams forwarded in the kernel: parse, look up, check, count, rewrite, redirect.
//
// Whatever is not exactly what a flow was put for goes up the stack untouched, to the socket and so to
// rule.carry in Python, whose meaning this has for what it does forward. Built by packaging/build-bpf.sh and
// loaded by program.py, which knows these structs as abi.py; the maps are made there.
//
// Offsets into packets and values are constants: the verifier then asks for no CAP_PERFMON.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>

#define INLINE static inline __attribute__((always_inline))
#define SECTION(name) __attribute__((section(name), used))
#define BARRIER() __asm__ volatile("" ::: "memory")
#define KEPT(value) __asm__ volatile("" : "+r"(value))
#define BE16(value) ((__u16)__builtin_bswap16(value))

#define AF_INET 2
#define AF_INET6 10

#define ABI 1
#define SECOND 1000000000ULL
#define PAUSE (2 * SECOND)      /* relay/track.py: PAUSE, LEAP, MAX_DROPOUT, MAX_MISORDER */
#define LEAP SECOND
#define MAX_DROPOUT 3000
#define MAX_MISORDER 100
#define MAX_TICKS (1 << 24)
#define TICK_SHIFT 12
#define NO_KIND 255
#define LONGEST_RTCP 512        /* longer reports go up */
#define EVENT_HEAD 16
#define PADDED 64               /* a frame this short may have octets behind its IP packet */

enum mode { NEIGHBOUR, CACHED };

enum why {
	FORWARDED,
	UNKNOWN,        /* UDP that no flow is for */
	OFFLOADED,      /* GSO, or a VLAN tag beside the packet */
	FRAGMENT,
	OPTIONS,
	LENGTH,
	LIFE,           /* TTL or hop limit at its end */
	LARGE,          /* above the MTU of where it goes */
	CONTENT,        /* not RTP, or not RTCP */
	CHECKSUM,
	ELSEWHERE,      /* not for XDP to send there; tc does */
	UNCOPIED,       /* forwarded, and nobody could be told */
	WHYS,
};

/* The keys stand in a packet as they are here. */
struct key4 {
	__be32 remote, local;
	__be16 remote_port, local_port;
};

struct key6 {
	__u32 remote[4], local[4];
	__be16 remote_port, local_port;
};

/* What to do, said once by put. Sums are ones' complement differences of what every packet changes. */
struct way {
	__u32 macs[3];          /* target, source: as a frame begins */
	__u32 ports;            /* via, to */
	__u32 ifindex;
	__u32 tick;             /* nanoseconds of an RTP tick, times 4096; 0: no jitter */
	__u16 ip_sum;           /* IPv4 header: addresses and TTL */
	__u16 host_sum;         /* addresses */
	__u16 port_sum;
	__u16 whole_sum;        /* IPv6: what a sum over the whole packet misses */
	__u16 pseudo_sum;       /* the pseudo header as it arrives, without the length */
	__u16 mtu;
	__u8 mode;
	__u8 is_rtcp;
	__u8 events;            /* payload type, NO_KIND: none */
	__u8 reserved;
	__be16 local_port;
	__u8 reserved2[6];
};

struct counters {
	__u64 packets, octets;
	__u64 at;               /* CLOCK_MONOTONIC, nanoseconds */
	__u64 media_at;         /* of the packet that timestamp is of */
	__u64 jitter;           /* nanoseconds times 16 */
	__u64 window;           /* bit n: highest - n has come */
	__u32 ssrc, highest, timestamp;
	__u8 kind, started, doubted, reserved;

	__u64 first_at;
	__u64 gap, gap_at;      /* the longest above PAUSE, and when it began */
	__u32 lost, reordered, duplicates, changes;
	__u32 bad;              /* the sequence number that would prove a new beginning, when doubted */
	__u32 passed;           /* packets of this flow that went up */
	__u64 reserved2[2];
};

struct flow4 {
	struct way way;
	__u32 hosts[2];         /* via, to */
	__be32 local;
	__be32 next_hop;        /* 0: the kernel looks for it */
	struct counters counters;
};

struct flow6 {
	struct way way;
	__u32 hosts[8];
	__u32 local[4];
	__u32 next_hop[4];
	struct counters counters;
};

struct copy {
	__u64 at;
	__u32 local[4];
	__be16 port;
	__u16 length;
	__u8 family;            /* 4 or 6 */
	__u8 reserved[3];
	__u8 data[];
};

const __u32 sizes[] SECTION("layout") = {
	ABI, sizeof(struct key4), sizeof(struct key6), sizeof(struct way), sizeof(struct counters),
	sizeof(struct flow4), sizeof(struct flow6), sizeof(struct copy), WHYS,
};

/* Addresses of these are replaced by the maps' files when the program is loaded. */
extern char flows4, flows6, copies, totals, egress;

static void *(*const look_up)(void *, const void *) = (void *)BPF_FUNC_map_lookup_elem;
static __u64 (*const clock)(void) = (void *)BPF_FUNC_ktime_get_ns;
static void *(*const reserve)(void *, __u64, __u64) = (void *)BPF_FUNC_ringbuf_reserve;
static void (*const submit)(void *, __u64) = (void *)BPF_FUNC_ringbuf_submit;
static void (*const discard)(void *, __u64) = (void *)BPF_FUNC_ringbuf_discard;
static long (*const pull)(struct __sk_buff *, __u32) = (void *)BPF_FUNC_skb_pull_data;
static long (*const skb_load)(struct __sk_buff *, __u32, void *, __u32) = (void *)BPF_FUNC_skb_load_bytes;
static long (*const xdp_load)(struct xdp_md *, __u32, void *, __u32) = (void *)BPF_FUNC_xdp_load_bytes;
static __u64 (*const length_of)(struct xdp_md *) = (void *)BPF_FUNC_xdp_get_buff_len;
static long (*const fix_sum)(struct __sk_buff *, __u32, __u64, __u64, __u64) = (void *)BPF_FUNC_l4_csum_replace;
static long (*const add_sum)(struct __sk_buff *, __u32) = (void *)BPF_FUNC_csum_update;
static long (*const redirect)(__u32, __u64) = (void *)BPF_FUNC_redirect;
static long (*const redirect_map)(void *, __u64, __u64) = (void *)BPF_FUNC_redirect_map;
static long (*const redirect_neigh)(__u32, void *, int, __u64) = (void *)BPF_FUNC_redirect_neigh;

/* RTP and RTCP as far as they matter here; both are UDP payload. */
struct body {
	__u8 first, kind;
	__be16 sequence;
	__be32 timestamp;
	__be32 ssrc;
};

struct udp {
	__u32 ports;
	__be16 length;
	__u16 check;
};

/* Behind 14 octets of Ethernet. Two addresses stand in a row, and the ports behind them: a key of ours. */
struct ip4 {
	__u8 version, tos;
	__be16 length, id, fragment;
	__u8 hops, protocol;
	__u16 check;
	__be32 remote, local;
	struct udp udp;
	struct body body;
};

struct ip6 {
	__u8 version, flow[3];
	__be16 length;
	__u8 protocol, hops;
	__u32 remote[4], local[4];
	struct udp udp;
	struct body body;
};

#define BODY4 (ETH_HLEN + __builtin_offsetof(struct ip4, body))
#define BODY6 (ETH_HLEN + __builtin_offsetof(struct ip6, body))
#define SHORTEST4 (BODY4 + 8) /* RTCP of eight octets */
#define SHORTEST6 (BODY6 + 8)
#define CHECK4 (BODY4 - 2)
#define CHECK6 (BODY6 - 2)

/* Both hooks by one name. `end` is where readable data ends, `size` all there is. */
struct hook {
	void *ctx;
	void *data, *end;
	__u32 size;
	bool is_xdp;
};

INLINE void count(__u32 why)
{
	__u64 *number = look_up(&totals, &why);
	if (number)
		*number += 1;
}

INLINE __u16 folded(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* What came by its sequence number; Source.sequence of relay/track.py in C. */
INLINE void follow(struct counters *seen, __u16 number)
{
	__u16 ahead = number - (__u16)seen->highest;

	if (ahead == 1) {
		seen->highest += 1;
		seen->window = seen->window << 1 | 1;
		seen->doubted = 0;
		return;
	}
	if (ahead && ahead < MAX_DROPOUT) {
		seen->lost += ahead - 1;
		seen->highest += ahead;
		seen->window = ahead < 64 ? seen->window << ahead | 1 : 1;
		seen->doubted = 0;
		return;
	}
	__u16 behind = -ahead;
	if (behind < MAX_MISORDER) {
		__u64 bit = behind < 64 ? 1ULL << behind : 0;

		if (seen->window & bit) {
			seen->duplicates += 1;
			return;
		}
		seen->window |= bit;
		seen->reordered += 1;
		if (seen->lost)
			seen->lost -= 1;
	} else if (seen->doubted && seen->bad == number) {
		seen->highest = number;
		seen->window = 1;
		seen->doubted = 0;
	} else {
		seen->bad = (__u16)(number + 1);
		seen->doubted = 1;
	}
}

INLINE void begin(struct counters *seen, const struct body *body, __u64 now, __u8 kind)
{
	seen->ssrc = body->ssrc;
	seen->highest = BE16(body->sequence);
	seen->window = 1;
	seen->doubted = 0;
	seen->jitter = 0;
	seen->timestamp = __builtin_bswap32(body->timestamp);
	seen->media_at = now;
	seen->kind = kind;
}

/* Track.step of relay/track.py, for the SSRC that speaks. */
INLINE void note(struct counters *seen, const struct way *way, const struct body *body, __u64 now)
{
	__u8 type = body->kind & 0x7f;
	bool is_event = type == way->events;

	if (!seen->started) {
		seen->started = 1;
		begin(seen, body, now, is_event ? NO_KIND : type);
		return;
	}
	if (body->ssrc != seen->ssrc) {
		seen->changes += 1;
		begin(seen, body, now, is_event ? NO_KIND : type);
		return;
	}
	follow(seen, BE16(body->sequence));
	if (is_event)
		return;         /* its timestamp is that of the key going down */
	__u32 timestamp = __builtin_bswap32(body->timestamp);
	__s64 ticks = (__s32)(timestamp - seen->timestamp);
	if (type == seen->kind && ticks < MAX_TICKS && ticks > -MAX_TICKS && way->tick) {
		__s64 apart = (__s64)(now - seen->media_at) - (ticks * way->tick >> TICK_SHIFT);

		if (apart < 0)
			apart = -apart;
		if (apart < (__s64)LEAP)
			seen->jitter += apart - ((seen->jitter + 8) >> 4);
	}
	seen->kind = type;
	seen->timestamp = timestamp;
	seen->media_at = now;
}

/* Whether RTP or RTCP may go on by this way; what rule.carry says of the payload. */
INLINE bool fits(const struct way *way, const struct body *body, __u32 payload)
{
	if (body->first >> 6 != 2)
		return false;
	if (way->is_rtcp)
		return body->kind >= 200 && body->kind <= 207 && payload >= 8 && payload <= LONGEST_RTCP;
	return (body->kind < 192 || body->kind > 223) && payload >= sizeof(*body);
}

INLINE long load(const struct hook *hook, __u32 offset, void *to, __u32 length)
{
	return hook->is_xdp ? xdp_load(hook->ctx, offset, to, length) : skb_load(hook->ctx, offset, to, length);
}

/* Let userspace read a packet that leaves without it. */
INLINE void tell(const struct hook *hook, const __u32 *local, bool is_v6, __be16 port, bool is_rtcp, __u32 offset,
		 __u32 payload, __u64 now)
{
	struct copy *copy;
	__u32 length = is_rtcp ? payload : EVENT_HEAD;

	if (is_rtcp)
		copy = reserve(&copies, sizeof(*copy) + LONGEST_RTCP, 0);
	else
		copy = reserve(&copies, sizeof(*copy) + EVENT_HEAD, 0);
	if (!copy) {
		count(UNCOPIED);
		return;
	}
	copy->at = now;
	copy->local[0] = local[0];
	copy->local[1] = is_v6 ? local[1] : 0;
	copy->local[2] = is_v6 ? local[2] : 0;
	copy->local[3] = is_v6 ? local[3] : 0;
	copy->port = port;
	copy->length = length;
	copy->family = is_v6 ? 6 : 4;
	copy->reserved[0] = copy->reserved[1] = copy->reserved[2] = 0;
	long failed = 1;
	if (!is_rtcp)
		failed = load(hook, offset, copy->data, EVENT_HEAD);
	else {
		/* one comparison at a time: the verifier wants both bounds of this very value */
		KEPT(length);
		if (length <= LONGEST_RTCP) {
			KEPT(length);
			if (length >= 8)
				failed = load(hook, offset, copy->data, length);
		}
	}
	if (failed)
		discard(copy, 0);
	else
		submit(copy, 0);
}

/* Count a packet that goes on; its payload is `payload` octets long and `packet` with its IP header. */
INLINE void record(const struct hook *hook, struct counters *seen, const struct way *way, const struct body *body,
		   const __u32 *local, bool is_v6, __be16 port, __u32 offset, __u32 payload)
{
	__u64 now = clock();
	__u64 gap = now - seen->at;

	if (!seen->packets)
		seen->first_at = now;
	else if (gap > PAUSE && gap < 1ULL << 63 && gap > seen->gap) {
		seen->gap = gap;
		seen->gap_at = seen->at;
	}
	seen->packets += 1;
	seen->octets += payload;
	seen->at = now;
	if (way->is_rtcp) {
		tell(hook, local, is_v6, port, true, offset, payload, now);
		return;
	}
	note(seen, way, body, now);
	if ((body->kind & 0x7f) == way->events && payload >= EVENT_HEAD)
		tell(hook, local, is_v6, port, false, offset, payload, now);
}

/* It goes up. Behind XDP it is tc's turn first. */
INLINE enum why passed(const struct hook *hook, struct counters *seen, enum why why)
{
	if (!hook->is_xdp)
		seen->passed += 1;
	return why;
}

/* Whether this is what the flow is for, whole and fit to go on; FORWARDED or why not. */
INLINE enum why judge(const struct hook *hook, const struct way *way, const struct udp *udp, const struct body *body,
		      __u32 packet, __u32 payload, __u8 hops)
{
	if (BE16(udp->length) != payload + sizeof(*udp))
		return LENGTH;
	/* a frame may be longer than its packet where Ethernet made it longer, and nowhere else */
	__u32 size = packet + ETH_HLEN;
	if (hook->size < size || (hook->size > size && hook->size > PADDED))
		return LENGTH;
	if (hops <= 1)
		return LIFE;
	if (packet > way->mtu)
		return LARGE;
	if (!fits(way, body, payload))
		return CONTENT;
	if (hook->is_xdp) {
		/* what left the checksum to its card has the pseudo header's sum here, and XDP cannot finish it */
		if (udp->check == folded((__u32)way->pseudo_sum + udp->length))
			return CHECKSUM;
		if (way->mode != CACHED || redirect_map(&egress, way->ifindex, XDP_PASS) != XDP_REDIRECT)
			return ELSEWHERE;
	}
	return FORWARDED;
}

/* MAC addresses, ports, and the UDP checksum where it is ours to change. */
INLINE void rewrite(const struct hook *hook, struct udp *udp, const struct way *way)
{
	if (way->mode == CACHED) {
		__u32 *macs = hook->data;
		macs[0] = way->macs[0];
		macs[1] = way->macs[1];
		macs[2] = way->macs[2];
	}
	udp->ports = way->ports;
	if (hook->is_xdp && udp->check) {
		__u16 check = ~folded((__u32)(__u16)~udp->check + way->host_sum + way->port_sum);
		udp->check = check ? check : 0xffff;
	}
}

INLINE enum why through4(const struct hook *hook, struct way *way, __u32 *next_hop)
{
	struct ip4 *ip = hook->data + ETH_HLEN;

	if (ip->version != 0x45)
		return OPTIONS;
	if (ip->fragment & BE16(0xbfff)) /* all bits but "do not" */
		return FRAGMENT;
	struct flow4 *flow = look_up(&flows4, &ip->remote);
	if (!flow)
		return UNKNOWN;
	struct counters *seen = &flow->counters;
	*way = flow->way;
	__u32 via = flow->hosts[0], to = flow->hosts[1], local = ip->local;
	next_hop[0] = flow->next_hop;
	BARRIER();
	if (flow->local != local || flow->way.local_port != ip->udp.ports >> 16)
		return UNKNOWN; /* it was deleted meanwhile, and its place is another flow's */
	if (!way->is_rtcp && (void *)(ip + 1) > hook->end)
		return passed(hook, seen, CONTENT);
	__u32 packet = BE16(ip->length), payload = packet - (BODY4 - ETH_HLEN);
	enum why why = judge(hook, way, &ip->udp, &ip->body, packet, payload, ip->hops);
	if (why != FORWARDED)
		return passed(hook, seen, why);
	record(hook, seen, way, &ip->body, &local, false, ip->udp.ports >> 16, BODY4, payload);
	ip->hops -= 1;
	ip->check = ~folded((__u32)(__u16)~ip->check + way->ip_sum);
	ip->remote = via;
	ip->local = to;
	rewrite(hook, &ip->udp, way);
	return FORWARDED;
}

INLINE enum why through6(const struct hook *hook, struct way *way, __u32 *next_hop)
{
	struct ip6 *ip = hook->data + ETH_HLEN;

	if (ip->version >> 4 != 6)
		return OPTIONS;
	struct flow6 *flow = look_up(&flows6, ip->remote);
	if (!flow)
		return UNKNOWN;
	struct counters *seen = &flow->counters;
	__u32 hosts[8];
	*way = flow->way;
	__builtin_memcpy(hosts, flow->hosts, sizeof(hosts));
	__builtin_memcpy(next_hop, flow->next_hop, sizeof(flow->next_hop));
	BARRIER();
	if (flow->local[0] != ip->local[0] || flow->local[1] != ip->local[1] || flow->local[2] != ip->local[2] ||
	    flow->local[3] != ip->local[3] || flow->way.local_port != ip->udp.ports >> 16)
		return UNKNOWN;
	if (!ip->udp.check) /* RFC 8200 8.1 */
		return passed(hook, seen, CHECKSUM);
	if (!way->is_rtcp && (void *)(ip + 1) > hook->end)
		return passed(hook, seen, CONTENT);
	__u32 length = BE16(ip->length), payload = length - sizeof(struct udp);
	enum why why = judge(hook, way, &ip->udp, &ip->body, length + 40, payload, ip->hops);
	if (why != FORWARDED)
		return passed(hook, seen, why);
	record(hook, seen, way, &ip->body, flow->local, true, ip->udp.ports >> 16, BODY6, payload);
	ip->hops -= 1;
	__builtin_memcpy(ip->remote, hosts, sizeof(hosts));
	rewrite(hook, &ip->udp, way);
	return FORWARDED;
}

/* Send it. An skb knows who finishes its checksum, and the helpers ask it. */
INLINE int leave(struct __sk_buff *skb, const struct way *way, struct bpf_redir_neigh *next, __u32 check)
{
	bool is_v6 = next->nh_family == AF_INET6;

	fix_sum(skb, check, 0, way->host_sum, BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0);
	fix_sum(skb, check, 0, way->port_sum, BPF_F_MARK_MANGLED_0);
	if (is_v6)
		add_sum(skb, way->whole_sum);
	if (way->mode == CACHED)
		return redirect(way->ifindex, 0);
	if (next->ipv6_nh[0] || (is_v6 && (next->ipv6_nh[1] | next->ipv6_nh[2] | next->ipv6_nh[3])))
		return redirect_neigh(way->ifindex, next, sizeof(*next), 0);
	return redirect_neigh(way->ifindex, 0, 0, 0);
}

/* Have so many octets in a row; some cards leave even headers in page fragments. */
INLINE bool readable(struct __sk_buff *skb, struct hook *hook, __u32 shortest)
{
	hook->data = (void *)(long)skb->data;
	hook->end = (void *)(long)skb->data_end;
	if (hook->data + shortest <= hook->end)
		return true;
	if (hook->size < shortest || pull(skb, hook->size < shortest + EVENT_HEAD ? hook->size : shortest + EVENT_HEAD))
		return false;
	hook->data = (void *)(long)skb->data;
	hook->end = (void *)(long)skb->data_end;
	return hook->data + shortest <= hook->end;
}

SECTION("tc") int relay_tc(struct __sk_buff *skb)
{
	struct hook hook = {.ctx = skb, .size = skb->len, .is_xdp = false};
	bool is_plain = !skb->gso_size && !skb->vlan_present;
	struct bpf_redir_neigh next = {};
	struct way way;
	enum why why;

	if (skb->pkt_type != 0)
		return TC_ACT_UNSPEC;
	if (skb->protocol == BE16(ETH_P_IP)) {
		if (!readable(skb, &hook, SHORTEST4))
			return TC_ACT_UNSPEC;
		struct ip4 *ip = hook.data + ETH_HLEN;
		if (ip->protocol != IPPROTO_UDP)
			return TC_ACT_UNSPEC;
		next.nh_family = AF_INET;
		why = is_plain ? through4(&hook, &way, next.ipv6_nh) : OFFLOADED;
		if (why == FORWARDED) {
			count(FORWARDED);
			return leave(skb, &way, &next, CHECK4);
		}
		count(why);
		return TC_ACT_UNSPEC;
	}
	if (skb->protocol == BE16(ETH_P_IPV6)) {
		if (!readable(skb, &hook, SHORTEST6))
			return TC_ACT_UNSPEC;
		struct ip6 *ip = hook.data + ETH_HLEN;
		if (ip->protocol != IPPROTO_UDP)
			return TC_ACT_UNSPEC;
		next.nh_family = AF_INET6;
		why = is_plain ? through6(&hook, &way, next.ipv6_nh) : OFFLOADED;
		if (why == FORWARDED) {
			count(FORWARDED);
			return leave(skb, &way, &next, CHECK6);
		}
		count(why);
		return TC_ACT_UNSPEC;
	}
	return TC_ACT_UNSPEC;
}

SECTION("xdp") int relay_xdp(struct xdp_md *xdp)
{
	struct hook hook = {.ctx = xdp, .is_xdp = true};
	__u32 next_hop[4];
	struct way way;
	enum why why;

	hook.data = (void *)(long)xdp->data;
	hook.end = (void *)(long)xdp->data_end;
	hook.size = length_of(xdp);
	if (hook.data + SHORTEST4 > hook.end)
		return XDP_PASS;
	__be16 type = *(__be16 *)(hook.data + 2 * ETH_ALEN);
	if (type == BE16(ETH_P_IP)) {
		struct ip4 *ip = hook.data + ETH_HLEN;
		if (ip->protocol != IPPROTO_UDP)
			return XDP_PASS;
		why = through4(&hook, &way, next_hop);
		if (why == FORWARDED) {
			count(FORWARDED);
			return XDP_REDIRECT; /* where judge said */
		}
	} else if (type == BE16(ETH_P_IPV6)) {
		struct ip6 *ip = hook.data + ETH_HLEN;
		if (hook.data + SHORTEST6 > hook.end || ip->protocol != IPPROTO_UDP)
			return XDP_PASS;
		why = through6(&hook, &way, next_hop);
		if (why == FORWARDED) {
			count(FORWARDED);
			return XDP_REDIRECT; /* where judge said */
		}
	} else
		return XDP_PASS;
	if (why == CHECKSUM || why == ELSEWHERE) /* tc sees it next, and counts what it thinks of the rest */
		count(why);
	return XDP_PASS;
}
