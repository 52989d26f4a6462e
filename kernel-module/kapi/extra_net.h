/* SPDX-License-Identifier: GPL-2.0 */
/* What net.rs, genl.rs, crypto.rs and procfs.rs need beyond kernel::bindings; included by extra.h. */
#ifndef DRBD_KAPI_EXTRA_NET_H
#define DRBD_KAPI_EXTRA_NET_H

#include <crypto/hash.h>
#include <linux/crc32c.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/mm.h>
#include <linux/net.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/tcp.h>
#include <linux/umh.h>
#include <net/genetlink.h>
#include <net/netlink.h>
#include <net/sock.h>
#include <net/tcp.h>

static const int KAPI_MSG_NOSIGNAL = MSG_NOSIGNAL;
static const int KAPI_MSG_MORE = MSG_MORE;
static const int KAPI_MSG_DONTWAIT = MSG_DONTWAIT;
static const int KAPI_MSG_PEEK = MSG_PEEK;
static const int KAPI_MSG_WAITALL = MSG_WAITALL;
static const int KAPI_MSG_SPLICE_PAGES = MSG_SPLICE_PAGES;

static const unsigned int KAPI_NLA_U8 = NLA_U8;
static const unsigned int KAPI_NLA_U32 = NLA_U32;
static const unsigned int KAPI_NLA_S32 = NLA_S32;
static const unsigned int KAPI_NLA_U64 = NLA_U64;
static const unsigned int KAPI_NLA_NUL_STRING = NLA_NUL_STRING;
static const unsigned int KAPI_NLA_BINARY = NLA_BINARY;
static const unsigned int KAPI_NLA_NESTED = NLA_NESTED;
static const unsigned int KAPI_GENL_ADMIN_PERM = GENL_ADMIN_PERM;

/* sockets: fields of struct sock, which the kernel's bindings do not know */
static inline void kapi_sock_prepare(struct socket *s)
{
	s->sk->sk_allocation = GFP_NOIO;
	s->sk->sk_use_task_frag = false;
}
static inline void kapi_sock_reuse(struct socket *s) { s->sk->sk_reuse = SK_CAN_REUSE; }
static inline void kapi_sock_priority(struct socket *s, unsigned int priority) { s->sk->sk_priority = priority; }
static inline void kapi_sock_send_timeout(struct socket *s, long ticks) { WRITE_ONCE(s->sk->sk_sndtimeo, ticks); }
static inline void kapi_sock_receive_timeout(struct socket *s, long ticks) { WRITE_ONCE(s->sk->sk_rcvtimeo, ticks); }
static inline void kapi_sock_send_buffer(struct socket *s, int bytes)
{
	s->sk->sk_sndbuf = bytes;
	s->sk->sk_userlocks |= SOCK_SNDBUF_LOCK;
}
static inline void kapi_sock_receive_buffer(struct socket *s, int bytes)
{
	s->sk->sk_rcvbuf = bytes;
	s->sk->sk_userlocks |= SOCK_RCVBUF_LOCK;
}
static inline int kapi_sock_queued(struct socket *s) { return READ_ONCE(s->sk->sk_wmem_queued); }
static inline int kapi_sock_send_space(struct socket *s) { return READ_ONCE(s->sk->sk_sndbuf); }
/* asked after our own shutdown: the peer has closed its direction too, or the connection is gone */
static inline bool kapi_sock_peer_closed(struct socket *s)
{
	int state = inet_sk_state_load(s->sk);

	return state != TCP_ESTABLISHED && state != TCP_FIN_WAIT1 && state != TCP_FIN_WAIT2;
}
static inline void kapi_tcp_nodelay(struct socket *s) { tcp_sock_set_nodelay(s->sk); }
static inline void kapi_tcp_cork(struct socket *s, bool on) { tcp_sock_set_cork(s->sk, on); }
static inline void kapi_tcp_quickack(struct socket *s) { tcp_sock_set_quickack(s->sk, 2); }
static inline bool kapi_sendpage_ok(struct page *page) { return sendpage_ok(page); }

/* generic netlink */
static inline unsigned int kapi_portid(struct netlink_callback *cb) { return NETLINK_CB(cb->skb).portid; }
static inline struct sk_buff *kapi_request_skb(struct netlink_callback *cb) { return (struct sk_buff *)cb->skb; }
static inline bool kapi_capable(struct sk_buff *skb, int capability) { return netlink_capable(skb, capability); }
static inline unsigned int kapi_skb_len(struct sk_buff *skb) { return skb->len; }
static inline unsigned int kapi_skb_room(struct sk_buff *skb) { return skb_tailroom(skb); }
static inline void *kapi_genl_user_header(struct genl_info *info) { return genl_info_userhdr(info); }
static inline struct sk_buff *kapi_genl_new(unsigned int bytes) { return genlmsg_new(bytes, GFP_KERNEL); }
static inline int kapi_genl_reply(struct sk_buff *skb, struct genl_info *info) { return genlmsg_reply(skb, info); }
static inline void kapi_genl_end(struct sk_buff *skb, void *header) { genlmsg_end(skb, header); }
static inline void kapi_genl_cancel(struct sk_buff *skb, void *header) { genlmsg_cancel(skb, header); }
static inline void kapi_skb_free(struct sk_buff *skb) { nlmsg_free(skb); }
static inline void *kapi_skb_append(struct sk_buff *skb, const void *data, unsigned int bytes)
{
	return skb_tailroom(skb) < bytes ? NULL : skb_put_data(skb, data, bytes);
}
static inline const void *kapi_nlh_data(const struct nlmsghdr *nlh, unsigned int skip, unsigned int *bytes)
{
	unsigned int have = nlmsg_len(nlh);
	*bytes = have > skip ? have - skip : 0;
	return (const char *)nlmsg_data(nlh) + skip;
}
static inline void kapi_extack(struct genl_info *info, const char *text)
{
	if (info->extack)
		info->extack->_msg = text;
}

/* digests; the types stay in C */
static inline void *kapi_shash_alloc(const char *name) { return crypto_alloc_shash(name, 0, 0); }
static inline int kapi_shash_setkey(void *tfm, const unsigned char *key, unsigned int bytes)
{
	return crypto_shash_setkey((struct crypto_shash *)tfm, key, bytes);
}
static inline unsigned int kapi_shash_descsize(void *tfm)
{
	return sizeof(struct shash_desc) + crypto_shash_descsize((struct crypto_shash *)tfm);
}
static inline unsigned int kapi_shash_digestsize(void *tfm) { return crypto_shash_digestsize((struct crypto_shash *)tfm); }
static inline int kapi_shash_init(void *desc, void *tfm)
{
	((struct shash_desc *)desc)->tfm = (struct crypto_shash *)tfm;
	return crypto_shash_init((struct shash_desc *)desc);
}
static inline int kapi_shash_update(void *desc, const void *data, unsigned int bytes)
{
	return crypto_shash_update((struct shash_desc *)desc, data, bytes);
}
static inline int kapi_shash_final(void *desc, void *out) { return crypto_shash_final((struct shash_desc *)desc, out); }
static inline void kapi_shash_free(void *tfm) { crypto_free_shash((struct crypto_shash *)tfm); }
static inline unsigned int kapi_crc32c(unsigned int seed, const void *data, unsigned long bytes) { return crc32c(seed, data, bytes); }

#endif
