// SPDX-License-Identifier: Apache-2.0
//
// A load of RTP made in the kernel, and where it ends. `frames` fills the live frames of BPF_PROG_TEST_RUN
// and sends them out of the interface they seem to have come by; `xdp_end` and `tc_end` take what arrives.

#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#define SECTION(name) __attribute__((section(name), used))
#define BE16(value) ((__u16)__builtin_bswap16(value))

#define PAYLOAD 160

/* Everything is as it stands in a packet. `sum` is that of the UDP packet and its pseudo header but for what
 * differs from packet to packet. */
struct plan {
	__u32 flows, flow;
	__u32 sequence;
	__u32 source, target;
	__u32 sum;
	__u64 made;
	__u16 macs[6];
	__u8 reserved[4];
};

struct ports {
	__u16 source, target;
};

struct frame {
	__u16 macs[6];
	__u16 type;
	__u8 version, tos;
	__u16 length, id, fragment;
	__u8 hops, protocol;
	__u16 check;
	__u32 source, target;
	__u16 source_port, target_port, udp_length, udp_check;
	__u8 rtp, kind;
	__u16 sequence;
	__u16 timestamp[2];
	__u16 ssrc[2];
} __attribute__((packed, aligned(2)));

extern char plan, ports;

static void *(*const look_up)(void *, const void *) = (void *)BPF_FUNC_map_lookup_elem;

static inline __attribute__((always_inline)) __u16 folded(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}

SECTION("frames") int make(struct xdp_md *xdp)
{
	struct frame *frame = (void *)(long)xdp->data;
	__u32 first = 0;
	struct plan *say = look_up(&plan, &first);

	if (!say || (void *)(frame + 1) > (void *)(long)xdp->data_end)
		return XDP_ABORTED;
	__u32 flow = say->flow;
	struct ports *pair = look_up(&ports, &flow);
	if (!pair)
		return XDP_ABORTED;
	say->made += 1;
	say->flow = flow + 1;
	if (say->flow >= say->flows) {
		say->flow = 0;
		say->sequence += 1;
	}
	__u32 timestamp = say->sequence * PAYLOAD;
	__builtin_memcpy(frame->macs, say->macs, sizeof(frame->macs));
	frame->type = BE16(0x0800);
	frame->version = 0x45;
	frame->tos = 0xb8;
	frame->length = BE16(20 + 8 + 12 + PAYLOAD);
	frame->id = 0;
	frame->fragment = BE16(0x4000);
	frame->hops = 64;
	frame->protocol = 17;
	frame->check = 0;
	frame->source = say->source;
	frame->target = say->target;
	__u32 sum = BE16(0x45b8) + BE16(20 + 8 + 12 + PAYLOAD) + BE16(0x4000) + BE16(0x4011);
	sum += (say->source & 0xffff) + (say->source >> 16) + (say->target & 0xffff) + (say->target >> 16);
	frame->check = ~folded(sum);
	frame->source_port = pair->source;
	frame->target_port = pair->target;
	frame->udp_length = BE16(8 + 12 + PAYLOAD);
	frame->rtp = 0x80;
	frame->kind = 0;
	frame->sequence = BE16(say->sequence);
	frame->timestamp[0] = BE16(timestamp >> 16);
	frame->timestamp[1] = BE16(timestamp);
	frame->ssrc[0] = BE16(1);
	frame->ssrc[1] = BE16(flow);
	sum = say->sum + frame->source_port + frame->target_port + frame->sequence + frame->timestamp[0] +
	      frame->timestamp[1] + frame->ssrc[0] + frame->ssrc[1];
	sum = folded(sum);
	frame->udp_check = sum == 0xffff ? 0xffff : ~sum;
	return XDP_TX;
}

SECTION("xdp_end") int take_frame(struct xdp_md *xdp)
{
	(void)xdp;
	return XDP_DROP;
}

SECTION("tc_end") int take_packet(struct __sk_buff *skb)
{
	return skb->protocol == BE16(0x0800) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}
