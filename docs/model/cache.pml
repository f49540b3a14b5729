/*
 * The protocol between readers, writers, Redis and the database, for SPIN.
 *
 * One table of two rows with a key (0, 1) and a group (0, 1). Conjunction 0 is
 * "key = 0", conjunction 1 is "group = 0"; a scheme has the number of its one
 * conjunction. Three queries: 0 depends on conjunction 0, 1 on 1, and 2 ("key =
 * 0 OR group = 0") on both. A result is nothing but its version: the number of
 * commits that have changed it.
 *
 * Every call of a script is one atomic step, in which nothing else happens;
 * between two steps of a process anything may. Leases run out whenever they
 * like. Checked is each hit, against what the grade owes at that moment, which
 * is no earlier than when the read started.
 *
 * Flags. Grade:    (none)  a hit is not older than the newest commit that has
 *                          returned and changed the result itself
 *                  CAUSAL  nor than what was committed before that one
 *                  STRONG  not older than what is committed
 *        Mode:     STAMPS  InsideOut; else ConjunctionSets
 *                  TRUST   ConjunctionSets: a hit does not look at the sets
 *                  LAZY    ConjunctionSets: an invalidation may take a set away
 *                          and leave its entries and leases, which are reclaimed
 *                          later or never
 *        Writers:  FENCE   drop and fence before COMMIT
 *                  BARE    only fence, drop nothing before COMMIT
 *                  SPLIT   read the sets in one call and drop in another
 *                  FOLLOW=mask  of writers whose commits are in a log that is followed:
 *                          somebody looks at the server's clock after the commit could
 *                          be seen, drops what was leased before, and perhaps does so
 *                          again. The writer itself may have dropped all of it before
 *                  HASTY   with FOLLOW: the clock is looked at before that
 *                  STORED  with FOLLOW: what was stored since then stays, whenever it
 *                          was leased
 *        Readers:  LATE    schemes are registered with the result, not before
 *                  ADOPT   with LAZY: one who finds a lease that the sets don't
 *                          name makes it their member again and waits for it
 *                  PLAIN   a look-up begins with plain reads, one by one, on a
 *                          connection that knows its server and ends with it;
 *                          its hits are compared with what was owed when it began
 *                  ENTRY_FIRST  with PLAIN: the entry is the first that is read,
 *                          not the last
 *                  UNIDENTIFIED  with PLAIN and RESTORE: the epoch is not compared
 *                          with the connection's server
 *                  EARLY   with PLAIN and RESTORE: it is compared with the server of
 *                          which was known before there was the connection
 *        Faults:   KILL    a writer dies between COMMIT and invalidation
 *                  SHORT   a fence may run out before COMMIT
 *                  EVICT=n Redis loses n keys of any kind
 *                  AGAIN   a look-up is delivered a second time, late
 *                  RESTORE Redis falls back to a snapshot of everything, once
 *                  BLIND   with RESTORE: the epoch doesn't name the server
 *                  REPLICA results are read from a replica, which lags behind
 *        Lag:      SETTLE  with REPLICA: an invalidation leaves a fence that
 *                          runs out when the replica has what was committed by
 *                          then; a table without a trace of it settles first
 *                  UNSETTLED  but one without a trace doesn't
 *                  BRIEF   a dead writer's fence runs out before the replica
 *                          has its commit
 *        Identities that a look-up makes (with AGAIN):
 *                  (none)  new ones by each execution: token and server's time
 *                  LEASE_BY_CALL, GENERATION_BY_CALL
 *                          a repeated delivery makes the same one again
 *        Size:     NW=n    writers, of one transaction each; 2
 *                  READERS=1 one reader instead of two; each reads for ever
 */
#ifndef NW
#define NW 2
#endif
#ifndef EVICT
#define EVICT 0
#endif
#ifndef READERS
#define READERS 2
#endif
#define NR 2

#define NOTHING 0
#define VALUE   1
#define LEASE   2
#define DEAD    99                       /* an identity that is gone for good */

#define ON(q)        ((q) + 1)           /* the conjunctions of a query, a mask */
#define HAS(mask, i) (((mask) >> (i)) & 1)

/* The database. */
byte group[2];
bool locked[2];
byte version[3];                         /* of the queries' results */
byte owed[3];                            /* what hits must have seen */

/* Redis. */
byte generation;                         /* of the table; 0: none */
byte schemes;                            /* registered, a mask */
byte fences;                             /* up, a mask of writers */
byte stamp[2];                           /* of the conjunctions; 0: none */
byte members[2];                         /* of the conjunctions' sets, masks of queries */
#ifdef LAZY
byte garbage[2];                         /* of the sets that were taken away */
#endif
byte kind[3], has[3], holder[3];         /* the entries */
byte vouched[3];                         /* the generation in an entry's witness */
byte vouch0[3], vouch1[3];               /* the stamps in it */

/* What readers under way have been given. */
byte given[NR], given0[NR], given1[NR];
bool over[NW];                           /* the writer has committed, or is done */
#ifdef RESTORE
/* A server makes one epoch, so that its number is one; 0: none. */
byte server, epoch, era[3], lent[NR];    /* the epoch in an entry's witness, and what a reader was given */
byte taken;                              /* 0: no snapshot yet, 1: one to fall back to, 2: done */
byte old_generation, old_schemes, old_epoch, old_fences;
byte old_stamp[2], old_members[2], old_kind[3], old_has[3], old_holder[3], old_era[3], old_vouched[3], old_vouch0[3], old_vouch1[3];
#ifdef LAZY
byte old_garbage[2];
#endif
#endif
#ifdef FOLLOW
byte looked;                             /* followed writers for whom the clock was looked at, a mask */
byte fresh[3], fresh_stamp[2];           /* of which of these before an entry was leased, or a stamp made */
#endif
#ifdef REPLICA
byte replica[3];                         /* the version of each result there */
bool caught = true;                      /* it has what was committed by the last invalidation */
#ifdef SETTLE
byte settle;                             /* 0: no trace, 1: the fence is up, 2: it has run out */
#endif
#endif
#ifdef AGAIN
byte sent[NR];                           /* a look-up that may be delivered again: query + 1 */
byte made[NR];                           /* the generation that it made; 0: it found one */
#endif
#ifdef PLAIN
/* What plain reads have found; looking is the number of readers that do. */
byte looking, found[NR], found0[NR], found1[NR];
#ifdef ENTRY_FIRST
byte read_has[NR], read_vouched[NR], read_vouch0[NR], read_vouch1[NR], read_era[NR];
#endif
#endif
byte n;                                  /* scratch, zero between steps */

/* A random identity is the least number that nobody refers to: identities are
 * only ever compared. */
#ifdef AGAIN
#define MADE(v) || made[0] == v || made[1] == v
#else
#define MADE(v)
#endif
#ifdef PLAIN
#ifdef ENTRY_FIRST
#define FOUND(v)  || found[0] == v  || found[1] == v  || read_vouched[0] == v || read_vouched[1] == v
#define FOUND0(v) || found0[0] == v || found0[1] == v || read_vouch0[0] == v  || read_vouch0[1] == v
#define FOUND1(v) || found1[0] == v || found1[1] == v || read_vouch1[0] == v  || read_vouch1[1] == v
#else
#define FOUND(v)  || found[0] == v  || found[1] == v
#define FOUND0(v) || found0[0] == v || found0[1] == v
#define FOUND1(v) || found1[0] == v || found1[1] == v
#endif
#else
#define FOUND(v)
#define FOUND0(v)
#define FOUND1(v)
#endif
#ifdef RESTORE
#define OLD(v)  || old_generation == v || old_vouched[0] == v || old_vouched[1] == v || old_vouched[2] == v
#define OLD0(v) || old_stamp[0] == v || old_vouch0[0] == v || old_vouch0[1] == v || old_vouch0[2] == v
#define OLD1(v) || old_stamp[1] == v || old_vouch1[0] == v || old_vouch1[1] == v || old_vouch1[2] == v
#else
#define OLD(v)
#define OLD0(v)
#define OLD1(v)
#endif
#define USED(v)  (generation == v || vouched[0] == v || vouched[1] == v || vouched[2] == v || given[0] == v || given[1] == v MADE(v) OLD(v) FOUND(v))
#define USED0(v) (stamp[0] == v || vouch0[0] == v || vouch0[1] == v || vouch0[2] == v || given0[0] == v || given0[1] == v OLD0(v) FOUND0(v))
#define USED1(v) (stamp[1] == v || vouch1[0] == v || vouch1[1] == v || vouch1[2] == v || given1[0] == v || given1[1] == v OLD1(v) FOUND1(v))
#define DRAW(used, into) n = 1; do :: used(n) -> n++ :: else -> break od; into = n; n = 0

#ifdef RESTORE
#define NO_ERA(q) ; era[q] = 0
#else
#define NO_ERA(q)
#endif
#ifdef FOLLOW
#define STALE(q) ; fresh[q] = 0
#define LEASED_NOW(q) fresh[q] = looked;
#define STAMPED_NOW(c) ; fresh_stamp[c] = looked
#else
#define STALE(q)
#define LEASED_NOW(q)
#define STAMPED_NOW(c)
#endif
#define CLEAR(q) kind[q] = NOTHING; has[q] = 0; holder[q] = 0; vouched[q] = 0; vouch0[q] = 0; vouch1[q] = 0 NO_ERA(q) STALE(q)

/* What refers to an identity that is gone can never be valid again: all such
 * states are one. Not so where identities come back, nor for one who has found it
 * before it was gone. */
#ifdef GENERATION_BY_CALL
#define TIDY skip
#else
#define TIDY1(r) \
  if :: given[r] != 0 && given[r] != generation -> given[r] = DEAD :: else fi; \
  if :: given0[r] != 0 && given0[r] != stamp[0] -> given0[r] = DEAD :: else fi; \
  if :: given1[r] != 0 && given1[r] != stamp[1] -> given1[r] = DEAD :: else fi
#define GONE(q) (kind[q] == VALUE && (vouched[q] != generation || \
  (vouch0[q] != 0 && vouch0[q] != stamp[0]) || (vouch1[q] != 0 && vouch1[q] != stamp[1])))
#define TIDY2(q) if :: GONE(q) -> CLEAR(q) :: else fi
#if defined(PLAIN) && defined(RESTORE)
#define TIDY if :: taken != 1 && looking == 0 -> TIDY1(0); TIDY1(1); TIDY2(0); TIDY2(1); TIDY2(2) :: else fi
#elif defined(PLAIN)
#define TIDY if :: looking == 0 -> TIDY1(0); TIDY1(1); TIDY2(0); TIDY2(1); TIDY2(2) :: else fi
#elif defined(RESTORE)
#define TIDY if :: taken != 1 -> TIDY1(0); TIDY1(1); TIDY2(0); TIDY2(1); TIDY2(2) :: else fi
#else
#define TIDY TIDY1(0); TIDY1(1); TIDY2(0); TIDY2(1); TIDY2(2)
#endif
#endif

/* An epoch counts only if it names the server. */
#if defined(RESTORE) && defined(BLIND)
#define FRESH (epoch == 0)
#elif defined(RESTORE)
#define FRESH (epoch != server + 1)
#endif
#ifdef RESTORE
#define SINCE(q) (!FRESH && era[q] == epoch)
#define FINISH lent[me] = 0; if :: old_kind[q] == LEASE && old_holder[q] == me + 1 -> old_holder[q] = 9 :: else fi;
#else
#define SINCE(q) true
#define FINISH
#endif

/* An entry's witness is that of now. */
#ifdef STAMPS
#define HOLDS(q, c, v) (!HAS(ON(q), c) || (stamp[c] != 0 && v == stamp[c]))
#define VALID(q) (generation != 0 && vouched[q] == generation && HOLDS(q, 0, vouch0[q]) && HOLDS(q, 1, vouch1[q]))
#else
#ifdef TRUST
#define VALID(q) (generation != 0 && vouched[q] == generation)
#else
#define KNOWS(q, c) (!HAS(ON(q), c) || HAS(members[c], q))
#define VALID(q) (generation != 0 && vouched[q] == generation && KNOWS(q, 0) && KNOWS(q, 1))
#endif
#endif

/* The invalidation: what depends on the conjunctions of the rows' images, as far
 * as a scheme is registered. */
#if defined(STAMPS) && defined(FOLLOW)
#define DROP(c) if :: HAS(images & schemes, c) && !HAS(fresh_stamp[c], me) -> stamp[c] = 0; fresh_stamp[c] = 0 :: else fi
#elif defined(STAMPS)
#define DROP(c) if :: HAS(images & schemes, c) -> stamp[c] = 0 :: else fi
#elif defined(FOLLOW)
#define OLDER(c, q) if :: HAS(members[c], q) && !HAS(fresh[q], me) -> CLEAR(q); members[c] = members[c] & (255 - (1 << q)) :: else fi
#ifdef LAZY
#define TAKE_AWAY(c) :: garbage[c] = garbage[c] | members[c]; members[c] = 0
#else
#define TAKE_AWAY(c)
#endif
#define DROP(c) if :: HAS(images & schemes, c) && members[c] != 0 -> \
    if :: OLDER(c, 0); OLDER(c, 1); OLDER(c, 2) \
    TAKE_AWAY(c) fi :: else fi
#else
#ifdef LAZY
#define TAKE_AWAY(c) :: garbage[c] = garbage[c] | members[c]
#else
#define TAKE_AWAY(c)
#endif
#define DROP(c) if :: HAS(images & schemes, c) && members[c] != 0 -> \
    if :: if :: HAS(members[c], 0) -> CLEAR(0) :: else fi; \
          if :: HAS(members[c], 1) -> CLEAR(1) :: else fi; \
          if :: HAS(members[c], 2) -> CLEAR(2) :: else fi \
    TAKE_AWAY(c) fi; \
    members[c] = 0 :: else fi
#endif

/* Whether the lease of an entry counts: one that the sets don't name is taken over. */
#ifdef LAZY
#define LEASED(q) (kind[q] == LEASE && (!HAS(ON(q), 0) || HAS(members[0], q)) && (!HAS(ON(q), 1) || HAS(members[1], q)))
#else
#define LEASED(q) (kind[q] == LEASE)
#endif

#define REST FINISH q = 0; seen = 0; given[me] = 0; given0[me] = 0; given1[me] = 0

#ifdef PLAIN
/* A pipeline ends with the connection. */
#ifdef RESTORE
#define CONNECTED (server == conn)
#ifdef UNIDENTIFIED
#define NAMED(e) (since != 0 && e == since)
#else
#define NAMED(e) (since == known && e == since)
#endif
#else
#define CONNECTED true
#define NAMED(e) true
#endif
#define READ(into, what) atomic { if :: CONNECTED -> into = what :: else fi }
#ifdef STAMPS
#define FIND(c) (stamp[c])
#define MATCHES(c, f, v) (!HAS(ON(q), c) || (f != 0 && v == f))
#else
#define FIND(c) (HAS(members[c], q))
#define MATCHES(c, f, v) (!HAS(ON(q), c) || f == 1)
#endif
#ifdef ENTRY_FIRST
#define ENTRY_HAS read_has[me]
#define MATCH (read_has[me] != 0 && NAMED(read_era[me]) && found[me] != 0 && read_vouched[me] == found[me] && \
  MATCHES(0, found0[me], read_vouch0[me]) && MATCHES(1, found1[me], read_vouch1[me]))
#else
#define ENTRY_HAS (has[q] + 1)
#ifdef RESTORE
#define ERA(q) era[q]
#else
#define ERA(q) 0
#endif
#define MATCH (kind[q] == VALUE && NAMED(ERA(q)) && found[me] != 0 && vouched[q] == found[me] && \
  MATCHES(0, found0[me], vouch0[q]) && MATCHES(1, found1[me], vouch1[q]))
#endif
#endif

proctype Reader(byte me) {
  byte q, seen;
#ifdef FOLLOW
  byte since_when;
#endif
#ifdef PLAIN
  byte due;
#ifdef RESTORE
  byte conn, known, since;
#endif
#endif
again:
#ifdef PLAIN
  atomic {
    if :: q = 0 :: q = 1 :: q = 2 fi;
    looking++; due = owed[q];
#ifdef RESTORE
    conn = server; known = server + 1;
#endif
    printf("R%d: looks for %d\n", me, q)
  };
#ifdef EARLY
  conn = server;
#endif
#ifdef ENTRY_FIRST
  atomic {
    if
    :: CONNECTED && kind[q] == VALUE ->
       read_has[me] = has[q] + 1; read_vouched[me] = vouched[q]; read_vouch0[me] = vouch0[q]; read_vouch1[me] = vouch1[q];
#ifdef RESTORE
       read_era[me] = era[q];
#endif
       printf("R%d: finds an entry of %d, version %d\n", me, q, has[q])
    :: else
    fi
  };
#endif
  if :: HAS(ON(q), 0) -> READ(found0[me], FIND(0)) :: else fi;
  if :: HAS(ON(q), 1) -> READ(found1[me], FIND(1)) :: else fi;
  READ(found[me], generation);
#ifdef RESTORE
  READ(since, epoch);
#endif
  atomic {
    if
    :: CONNECTED && MATCH ->
       printf("R%d: plain hit of %d, version %d of %d\n", me, q, ENTRY_HAS - 1, due);
       assert(ENTRY_HAS > due);
       seen = 1
    :: else -> seen = 0
    fi;
    looking--; due = 0; found[me] = 0; found0[me] = 0; found1[me] = 0;
#ifdef RESTORE
    conn = 0; known = 0; since = 0;
#endif
#ifdef ENTRY_FIRST
    read_has[me] = 0; read_vouched[me] = 0; read_vouch0[me] = 0; read_vouch1[me] = 0; read_era[me] = 0;
#endif
    TIDY;
    if :: seen == 1 -> q = 0; seen = 0; goto again :: else fi
  };
#endif
  /* acquire.lua */
  atomic {
#ifndef PLAIN
    if :: q = 0 :: q = 1 :: q = 2 fi;
#endif
    if
    :: kind[q] == VALUE && SINCE(q) && VALID(q) ->
       printf("R%d: hit of %d, version %d of %d\n", me, q, has[q], owed[q]);
       assert(has[q] >= owed[q]);
       REST; goto again
    :: else
    fi;
    if
#ifdef ADOPT
    :: kind[q] == LEASE ->
       if :: HAS(ON(q), 0) -> members[0] = members[0] | (1 << q) :: else fi;
       if :: HAS(ON(q), 1) -> members[1] = members[1] | (1 << q) :: else fi;
       printf("R%d: %d is leased and a member again\n", me, q); REST; goto again
#endif
    :: LEASED(q) -> printf("R%d: %d is leased\n", me, q); REST; goto again
    :: !LEASED(q) && fences != 0 -> printf("R%d: %d is fenced\n", me, q); REST; goto again
    :: else
    fi;
#ifdef SETTLE
    if :: settle == 1 -> printf("R%d: %d settles\n", me, q); REST; goto again
#ifndef UNSETTLED
       :: settle == 0 -> settle = 1; caught = false; printf("R%d: %d settles first\n", me, q); REST; goto again
#endif
       :: else fi;
#endif
#ifdef RESTORE
    if :: FRESH -> epoch = server + 1 :: else fi;
    lent[me] = epoch;
#endif
    if :: generation == 0 -> DRAW(USED, generation); schemes = 0;
#ifdef AGAIN
          made[me] = generation
#endif
       :: else fi;
#ifndef LATE
    schemes = schemes | ON(q);
#endif
    given[me] = generation;
    CLEAR(q);
#ifdef STAMPS
    if :: HAS(ON(q), 0) -> if :: stamp[0] == 0 -> DRAW(USED0, stamp[0]) STAMPED_NOW(0) :: else fi; given0[me] = stamp[0] :: else fi;
    if :: HAS(ON(q), 1) -> if :: stamp[1] == 0 -> DRAW(USED1, stamp[1]) STAMPED_NOW(1) :: else fi; given1[me] = stamp[1] :: else fi;
#else
    if :: HAS(ON(q), 0) -> members[0] = members[0] | (1 << q) :: else fi;
    if :: HAS(ON(q), 1) -> members[1] = members[1] | (1 << q) :: else fi;
#endif
    kind[q] = LEASE; holder[q] = me + 1; LEASED_NOW(q)
#ifdef AGAIN
    sent[me] = q + 1;
#endif
    printf("R%d: leases %d\n", me, q)
  };
  atomic {
#ifdef REPLICA
    seen = replica[q];
#else
    seen = version[q];
#endif
    printf("R%d: reads %d, version %d\n", me, q, seen) };
  /* save.lua */
  atomic {
    if
    :: kind[q] == LEASE && holder[q] == me + 1 ->
#if defined(FOLLOW) && !defined(STORED)
       since_when = fresh[q];
#elif defined(FOLLOW)
       since_when = looked;
#endif
       CLEAR(q);
#ifdef FOLLOW
       fresh[q] = since_when; since_when = 0;
#endif
       kind[q] = VALUE; has[q] = seen; vouched[q] = given[me]; vouch0[q] = given0[me]; vouch1[q] = given1[me];
#ifdef RESTORE
       era[q] = lent[me];
#endif
#ifdef LATE
       schemes = schemes | ON(q);
#endif
       printf("R%d: stores %d, version %d\n", me, q, seen)
    :: else -> printf("R%d: may not store %d\n", me, q)
    fi;
    REST; TIDY;
    goto again
  }
}

#ifdef FOLLOW
/* Look at the clock: what is there by now is older. */
#define OLD_NOW(x) x = x & (255 - (1 << me));
#define LOOK atomic { OLD_NOW(fresh[0]) OLD_NOW(fresh[1]) OLD_NOW(fresh[2]) OLD_NOW(fresh_stamp[0]) OLD_NOW(fresh_stamp[1]) \
       looked = looked | (1 << me); printf("W%d: is followed, the clock is looked at\n", me) }
#endif

proctype Writer(byte me) {
  byte row, to, images, seen0, seen1, seen2;
#ifdef SPLIT
  byte found, gone;
#endif
  atomic {
    if :: !locked[0] -> row = 0 :: !locked[1] -> row = 1 fi;
    if :: to = 0 :: to = 1 fi;
    locked[row] = true;
    images = (row == 0 -> 1 : 0) | ((group[row] == 0 || to == 0) -> 2 : 0);
    printf("W%d: locks row %d of group %d\n", me, row, group[row])
  };
#ifdef HASTY
  LOOK;
#endif
#ifdef FENCE
  /* invalidate.lua, with a fence to be set */
  atomic {
#ifndef BARE
    DROP(0); DROP(1);
    printf("W%d: drops %d in advance\n", me, images);
#endif
    fences = fences | (1 << me);
    TIDY;
    printf("W%d: fences the table\n", me)
  };
#endif
  atomic {
    group[row] = to; locked[row] = false; over[me] = true;
    if :: HAS(images, 0) -> version[0]++ :: else fi;
    if :: HAS(images, 1) -> version[1]++ :: else fi;
    if :: images != 0 -> version[2]++ :: else fi;
#ifdef CAUSAL
    seen0 = version[0]; seen1 = version[1]; seen2 = version[2];
#else
    seen0 = (HAS(images, 0) -> version[0] : 0);
    seen1 = (HAS(images, 1) -> version[1] : 0);
    seen2 = (images != 0 -> version[2] : 0);
#endif
#ifdef STRONG
    owed[0] = version[0]; owed[1] = version[1]; owed[2] = version[2];
#endif
    printf("W%d: commits row %d to group %d\n", me, row, to);
    row = 0; to = 0
  };
#ifdef KILL
  if :: atomic { printf("W%d: is killed\n", me); goto end } :: skip fi;
#endif
#ifdef FOLLOW
  if
  :: !HAS(FOLLOW, me) -> skip
  :: HAS(FOLLOW, me) -> skip             /* its program invalidates */
  :: HAS(FOLLOW, me) ->
told:
#ifndef HASTY
     LOOK;
#endif
     skip
  fi;
#endif
#ifdef SPLIT
  atomic {
    gone = images & schemes;
    if :: HAS(gone, 0) -> found = found | members[0] :: else fi;
    if :: HAS(gone, 1) -> found = found | members[1] :: else fi;
    printf("W%d: finds %d in the sets\n", me, found)
  };
#endif
  /* invalidate.lua, with a fence to be dropped; then Commit returns */
  atomic {
#ifdef SPLIT
    if :: HAS(found, 0) -> CLEAR(0) :: else fi;
    if :: HAS(found, 1) -> CLEAR(1) :: else fi;
    if :: HAS(found, 2) -> CLEAR(2) :: else fi;
    if :: HAS(gone, 0) -> members[0] = 0 :: else fi;
    if :: HAS(gone, 1) -> members[1] = 0 :: else fi;
    found = 0; gone = 0;
#else
    DROP(0); DROP(1);
#endif
    fences = fences & (255 - (1 << me));
#ifdef REPLICA
    caught = false;
#ifdef SETTLE
    settle = 1;
#endif
#endif
    TIDY;
    if :: owed[0] < seen0 -> owed[0] = seen0 :: else fi;
    if :: owed[1] < seen1 -> owed[1] = seen1 :: else fi;
    if :: owed[2] < seen2 -> owed[2] = seen2 :: else fi;
    printf("W%d: invalidates %d and returns\n", me, images)
  };
#ifdef FOLLOW
  if :: HAS(FOLLOW, me) -> goto told :: skip fi;
#endif
end:
  images = 0; seen0 = 0; seen1 = 0; seen2 = 0
}

/* What happens by itself. */
proctype World() {
  byte lost, q;
  do
  :: atomic { kind[0] == LEASE -> CLEAR(0); printf("the lease of 0 runs out\n") }
  :: atomic { kind[1] == LEASE -> CLEAR(1); printf("the lease of 1 runs out\n") }
  :: atomic { kind[2] == LEASE -> CLEAR(2); printf("the lease of 2 runs out\n") }
#ifdef LAZY
/* reclaim.lua, member by member: it keeps what has been made a member anew */
#define RECLAIM(c, q) :: atomic { HAS(garbage[c], q) -> garbage[c] = garbage[c] & (255 - (1 << (q))); \
       if :: !HAS(members[c], q) && kind[q] != NOTHING -> CLEAR(q); printf("entry %d is reclaimed\n", q) :: else fi }
  RECLAIM(0, 0)
  RECLAIM(0, 2)
  RECLAIM(1, 1)
  RECLAIM(1, 2)
#endif
#ifdef FENCE
#ifdef SHORT
#define OUT(w) true
#else
#if defined(REPLICA) && !defined(BRIEF)
#define OUT(w) (over[w] && replica[0] == version[0] && replica[1] == version[1] && replica[2] == version[2])
#else
#define OUT(w) over[w]
#endif
#endif
  :: atomic { HAS(fences, 0) && OUT(0) -> fences = fences & 254; printf("the fence of W0 runs out\n") }
#if NW > 1
  :: atomic { HAS(fences, 1) && OUT(1) -> fences = fences & 253; printf("the fence of W1 runs out\n") }
#endif
#endif
#ifdef SETTLE
#define NO_TRACE settle = 0;
#else
#define NO_TRACE
#endif
#if EVICT > 0
  :: atomic { lost < EVICT -> lost++;
       if
       :: generation != 0 -> generation = 0; schemes = 0; fences = 0; NO_TRACE printf("the table's hash is lost\n")
       :: (stamp[0] | members[0]) != 0 -> stamp[0] = 0; members[0] = 0; printf("conjunction 0 is lost\n")
       :: (stamp[1] | members[1]) != 0 -> stamp[1] = 0; members[1] = 0; printf("conjunction 1 is lost\n")
       :: kind[0] != NOTHING -> CLEAR(0); printf("entry 0 is lost\n")
       :: kind[1] != NOTHING -> CLEAR(1); printf("entry 1 is lost\n")
       :: kind[2] != NOTHING -> CLEAR(2); printf("entry 2 is lost\n")
       :: else -> skip
       fi;
       TIDY }
#endif
#ifdef REPLICA
  :: atomic { !caught || replica[0] != version[0] || replica[1] != version[1] || replica[2] != version[2] ->
       replica[0] = version[0]; replica[1] = version[1]; replica[2] = version[2]; caught = true;
       printf("the replica catches up\n") }
#ifdef SETTLE
  :: atomic { settle == 1 && caught -> settle = 2; printf("the table has settled\n") }
#endif
#endif
#ifdef RESTORE
#ifdef LAZY
#define TAKEN(copy) copy(garbage[0]) copy(garbage[1])
#else
#define TAKEN(copy)
#endif
#define EACH(copy) copy(generation) copy(schemes) copy(epoch) copy(fences) copy(stamp[0]) copy(stamp[1]) copy(members[0]) copy(members[1]) TAKEN(copy) \
  ENTRY(copy, 0) ENTRY(copy, 1) ENTRY(copy, 2)
#define ENTRY(copy, q) copy(kind[q]) copy(has[q]) copy(holder[q]) copy(era[q]) copy(vouched[q]) copy(vouch0[q]) copy(vouch1[q])
#define KEEP(x) old_##x = x;
#define BACK(x) x = old_##x; old_##x = 0;
  :: atomic { taken == 0 -> taken = 1; EACH(KEEP) printf("the snapshot is taken\n") }
  :: atomic { taken == 1 -> taken = 2; server = 1; EACH(BACK) printf("the snapshot is back\n") }
#endif
#ifdef AGAIN
#ifdef LEASE_BY_CALL
#define SAME(r) (r + 1)
#else
#define SAME(r) 9
#endif
#ifdef GENERATION_BY_CALL
#define REMAKE(r) if :: made[r] != 0 -> generation = made[r] :: else -> DRAW(USED, generation) fi
#else
#define REMAKE(r) DRAW(USED, generation)
#endif
#ifdef STAMPS
#define JOIN(c, used) if :: HAS(ON(q), c) && stamp[c] == 0 -> DRAW(used, stamp[c]) STAMPED_NOW(c) :: else fi
#else
#define JOIN(c, used) if :: HAS(ON(q), c) -> members[c] = members[c] | (1 << q) :: else fi
#endif
#define REPEAT(r) :: atomic { sent[r] != 0 -> q = sent[r] - 1; sent[r] = 0; \
       if \
       :: LEASED(q) || fences != 0 || (kind[q] == VALUE && VALID(q)) -> skip \
       :: else -> \
          if :: generation == 0 -> REMAKE(r); schemes = 0 :: else fi; \
          schemes = schemes | ON(q); CLEAR(q); JOIN(0, USED0); JOIN(1, USED1); \
          kind[q] = LEASE; holder[q] = SAME(r); LEASED_NOW(q) \
          printf("the look-up of R%d is delivered again: leases %d\n", r, q) \
       fi; \
       made[r] = 0; q = 0 }
  REPEAT(0)
  REPEAT(1)
  /* The whole table is dropped by somebody. */
  :: atomic { generation != 0 && lost == 0 -> lost = 1; generation = 0; schemes = 0; TIDY; printf("the table is dropped\n") }
#endif
  :: timeout -> break
  od
}

init {
  atomic {
    group[1] = 1;
    run Reader(0);
#if READERS > 1
    run Reader(1);
#endif
    run Writer(0);
#if NW > 1
    run Writer(1);
#endif
#if NW > 2
    run Writer(2);
#endif
    run World()
  }
}
