/*
 * A namespace that is spread over the slots of a cluster, in the style of
 * cache.pml: no two keys are touched in one step but a table's own.
 *
 * There are two tables, and a query has its entry in the shard of its number:
 * query 0 reads table 0, query 1 both. Each table has one conjunction, which all
 * its rows satisfy. What a table answers to vouch.lua, its generation and its
 * stamps, is one identity here, its part of a witness: whatever becomes of one of
 * them, the answer is another one. A scheme is registered in one step with the
 * stamp and lost only with the generation, so it needs no place of its own. A
 * result is its version, the number of commits that have changed it.
 *
 * The calls of one pipeline are executed in any order, and between any two
 * anything may happen. Leases run out whenever they like. A hit is compared with
 * what was owed when its look-up started.
 *
 * Flags. Grade:    STRONG  not older than what was committed by then, else than
 *                          what had returned
 *        Writers:  FENCE   drop and fence before COMMIT
 *        Readers:  LEASE_FIRST  lease, then register, then read
 *                  READ_FIRST   lease, then read, then register
 *                  FENCE_APART  look at a table's fences in one step and register
 *                               in another
 *        Faults:   KILL    a writer dies between COMMIT and invalidation
 *                  EVICT=n Redis loses n keys of any kind
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

#define HAS(mask, i) (((mask) >> (i)) & 1)

/* The database. */
byte version[2];                         /* of the queries' results */
byte owed[2];                            /* what hits must have seen */

/* Redis. */
byte epoch[2], all_fences[2];            /* of each shard */
byte part[2], fences[2];                 /* of each table; part 0: something is missing */
byte kind[2], has[2], holder[2];         /* the entries, and their witnesses */
byte vouched[2], vouched0[2], vouched1[2];

/* What readers under way have been given, and the value that they have found. */
byte given[NR], given0[NR], given1[NR];
bool found[NR];
byte found_has[NR], found_e[NR], found0[NR], found1[NR];
bool over[NW];                           /* the writer has committed, or is done */
byte n;                                  /* scratch, zero between steps */

#define USED(v)  (epoch[0] == v || epoch[1] == v || vouched[0] == v || vouched[1] == v || given[0] == v || given[1] == v || found_e[0] == v || found_e[1] == v)
#define USED0(v) (part[0] == v || vouched0[0] == v || vouched0[1] == v || given0[0] == v || given0[1] == v || found0[0] == v || found0[1] == v)
#define USED1(v) (part[1] == v || vouched1[0] == v || vouched1[1] == v || given1[0] == v || given1[1] == v || found1[0] == v || found1[1] == v)
#define DRAW(used, into) n = 1; do :: used(n) -> n++ :: else -> break od; into = n; n = 0

#define CLEAR(q) kind[q] = NOTHING; has[q] = 0; holder[q] = 0; vouched[q] = 0; vouched0[q] = 0; vouched1[q] = 0
#define FORGET(r) found[r] = false; found_has[r] = 0; found_e[r] = 0; found0[r] = 0; found1[r] = 0

/* What refers to an identity that is gone can never be valid again. */
#define LOST(e, p0, p1) ((e != epoch[0] && e != epoch[1]) || (p0 != 0 && p0 != part[0]) || (p1 != 0 && p1 != part[1]))
#define TIDY1(r) \
  if :: given[r] != 0 && given[r] != epoch[0] && given[r] != epoch[1] -> given[r] = DEAD :: else fi; \
  if :: given0[r] != 0 && given0[r] != part[0] -> given0[r] = DEAD :: else fi; \
  if :: given1[r] != 0 && given1[r] != part[1] -> given1[r] = DEAD :: else fi; \
  if :: found[r] && LOST(found_e[r], found0[r], found1[r]) -> FORGET(r) :: else fi
#define TIDY2(q) if :: kind[q] == VALUE && LOST(vouched[q], vouched0[q], vouched1[q]) -> CLEAR(q) :: else fi
#define TIDY TIDY1(0); TIDY1(1); TIDY2(0); TIDY2(1)

#define REST q = 0; need = 0; done = 0; seen = 0; fenced = false; given[me] = 0; given0[me] = 0; given1[me] = 0; FORGET(me)

/* vouch.lua, that looks only and that registers. */
#define LOOK(t, into) \
  if :: fences[t] != 0 -> fenced = true :: else fi; \
  into = part[t]; done = done | (2 << t)
#define REGISTER(t, used, into) \
  if :: fences[t] != 0 -> fenced = true \
     :: else -> if :: part[t] == 0 -> DRAW(used, part[t]) :: else fi fi; \
  into = part[t]; done = done | (2 << t)
#ifdef FENCE_APART
#define REGISTER_APART(t, used, into) \
  if :: !fenced && part[t] == 0 -> DRAW(used, part[t]) :: else fi; \
  into = part[t]; done = done | (2 << t)
#endif
#define VOUCHED (HAS(done, 1) && (q == 0 || HAS(done, 2)))
#define REGISTER_ALL \
  done = done & 1; \
  do \
  :: atomic { !HAS(done, 1) -> REGISTER(0, USED0, given0[me]) } \
  :: atomic { q == 1 && !HAS(done, 2) -> REGISTER(1, USED1, given1[me]) } \
  :: VOUCHED -> break \
  od; \
  if :: atomic { fenced -> REST; goto again } :: !fenced fi

proctype Reader(byte me) {
  byte q, need, done, seen;
  bool fenced;
again:
  atomic { if :: q = 0 :: q = 1 fi; need = owed[q] };
  do
  /* find.lua */
  :: atomic { !HAS(done, 0) ->
       if :: all_fences[q] != 0 -> fenced = true
          :: else -> if :: epoch[q] == 0 -> DRAW(USED, epoch[q]) :: else fi
       fi;
       given[me] = epoch[q];
       if
       :: kind[q] == VALUE ->
          found[me] = true; found_has[me] = has[q];
          found_e[me] = vouched[q]; found0[me] = vouched0[q]; found1[me] = vouched1[q]
       :: else
       fi;
       done = done | 1;
       printf("R%d: finds %d\n", me, q) }
  /* vouch.lua */
#if defined(LEASE_FIRST) || defined(READ_FIRST)
  :: atomic { !HAS(done, 1) -> LOOK(0, given0[me]); printf("R%d: looks at table 0\n", me) }
  :: atomic { q == 1 && !HAS(done, 2) -> LOOK(1, given1[me]); printf("R%d: looks at table 1\n", me) }
#elif defined(FENCE_APART)
  :: atomic { !HAS(done, 1) && !HAS(done, 3) -> done = done | 8;
       if :: fences[0] != 0 -> fenced = true :: else fi; printf("R%d: looks at the fences of table 0\n", me) }
  :: atomic { q == 1 && !HAS(done, 2) && !HAS(done, 4) -> done = done | 16;
       if :: fences[1] != 0 -> fenced = true :: else fi; printf("R%d: looks at the fences of table 1\n", me) }
  :: atomic { HAS(done, 3) -> done = done & 247; REGISTER_APART(0, USED0, given0[me]); printf("R%d: registers in table 0\n", me) }
  :: atomic { HAS(done, 4) -> done = done & 239; REGISTER_APART(1, USED1, given1[me]); printf("R%d: registers in table 1\n", me) }
#else
  :: atomic { !HAS(done, 1) -> REGISTER(0, USED0, given0[me]); printf("R%d: registers in table 0\n", me) }
  :: atomic { q == 1 && !HAS(done, 2) -> REGISTER(1, USED1, given1[me]); printf("R%d: registers in table 1\n", me) }
#endif
  :: HAS(done, 0) && VOUCHED -> break
  od;
  atomic {
    if
    :: found[me] && given[me] != 0 && found_e[me] == given[me] && given0[me] != 0 && found0[me] == given0[me] &&
       (q == 0 || (given1[me] != 0 && found1[me] == given1[me])) ->
       printf("R%d: hit of %d, version %d of %d\n", me, q, found_has[me], need);
       assert(found_has[me] >= need);
       REST; goto again
    :: else
    fi;
    FORGET(me);
    if :: fenced -> printf("R%d: %d is fenced\n", me, q); REST; goto again :: else fi;
#if defined(LEASE_FIRST) || defined(READ_FIRST)
    given0[me] = 0; given1[me] = 0
#endif
  };
  /* lease.lua */
  atomic {
    if
    :: kind[q] == VALUE && vouched[q] == given[me] && vouched0[q] == given0[me] && vouched1[q] == given1[me] ->
       printf("R%d: hit of %d instead of a lease, version %d of %d\n", me, q, has[q], need);
       assert(has[q] >= need);
       REST; goto again
    :: kind[q] == LEASE && vouched[q] == given[me] && vouched0[q] == given0[me] && vouched1[q] == given1[me] && holder[q] != me + 1 ->
       printf("R%d: %d is leased\n", me, q); REST; goto again
    :: else
    fi;
    need = 0;
    CLEAR(q);
    kind[q] = LEASE; holder[q] = me + 1; vouched[q] = given[me]; vouched0[q] = given0[me]; vouched1[q] = given1[me];
    printf("R%d: leases %d\n", me, q)
  };
#ifdef LEASE_FIRST
  REGISTER_ALL;
#endif
  atomic { seen = version[q]; printf("R%d: reads %d, version %d\n", me, q, seen) };
#ifdef READ_FIRST
  REGISTER_ALL;
#endif
  /* save.lua */
  atomic {
    if
    :: kind[q] == LEASE && holder[q] == me + 1 ->
       CLEAR(q);
       kind[q] = VALUE; has[q] = seen; vouched[q] = given[me]; vouched0[q] = given0[me]; vouched1[q] = given1[me];
       printf("R%d: stores %d, version %d\n", me, q, seen)
    :: else -> printf("R%d: may not store %d\n", me, q)
    fi;
    REST; TIDY;
    goto again
  }
}

#define OWE(q, v) if :: owed[q] < v -> owed[q] = v :: else fi

/* A writer writes to some tables, or to who knows which: then it drops the
 * epochs of all shards. */
proctype Writer(byte me) {
  byte left, seen0, seen1;               /* left, a mask: 1 and 2 tables, 4 and 8 shards */
  byte images;
  atomic {
    if :: images = 1 :: images = 2 :: images = 3 :: images = 12 fi;
    printf("W%d: is going to write %d\n", me, images)
  };
#ifdef FENCE
  /* invalidate.lua, with a fence to be set */
  left = images;
  do
  :: atomic { left & 1 -> part[0] = 0; fences[0] = fences[0] | (1 << me); left = left & 14; TIDY; printf("W%d: fences table 0\n", me) }
  :: atomic { left & 2 -> part[1] = 0; fences[1] = fences[1] | (1 << me); left = left & 13; TIDY; printf("W%d: fences table 1\n", me) }
  :: atomic { left & 4 -> epoch[0] = 0; all_fences[0] = all_fences[0] | (1 << me); left = left & 11; TIDY; printf("W%d: fences shard 0\n", me) }
  :: atomic { left & 8 -> epoch[1] = 0; all_fences[1] = all_fences[1] | (1 << me); left = left & 7; TIDY; printf("W%d: fences shard 1\n", me) }
  :: left == 0 -> break
  od;
#endif
  atomic {
    left = images; over[me] = true;
    if :: images != 2 -> version[0]++; seen0 = version[0] :: else fi;
    version[1]++; seen1 = version[1];
#ifdef STRONG
    owed[0] = version[0]; owed[1] = version[1];
#endif
    printf("W%d: commits\n", me)
  };
#ifdef KILL
  if :: atomic { printf("W%d: is killed\n", me); goto end } :: skip fi;
#endif
  /* invalidate.lua, with a fence to be dropped */
  do
  :: atomic { left & 1 -> part[0] = 0; fences[0] = fences[0] & (255 - (1 << me)); left = left & 14; TIDY; printf("W%d: invalidates table 0\n", me) }
  :: atomic { left & 2 -> part[1] = 0; fences[1] = fences[1] & (255 - (1 << me)); left = left & 13; TIDY; printf("W%d: invalidates table 1\n", me) }
  :: atomic { left & 4 -> epoch[0] = 0; all_fences[0] = all_fences[0] & (255 - (1 << me)); left = left & 11; TIDY; printf("W%d: invalidates shard 0\n", me) }
  :: atomic { left & 8 -> epoch[1] = 0; all_fences[1] = all_fences[1] & (255 - (1 << me)); left = left & 7; TIDY; printf("W%d: invalidates shard 1\n", me) }
  :: left == 0 -> break
  od;
  atomic { OWE(0, seen0); OWE(1, seen1); printf("W%d: returns\n", me) };
end:
  left = 0; seen0 = 0; seen1 = 0; images = 0
}

/* What happens by itself. */
proctype World() {
  byte lost;
  do
  :: atomic { kind[0] == LEASE -> CLEAR(0); printf("the lease of 0 runs out\n") }
  :: atomic { kind[1] == LEASE -> CLEAR(1); printf("the lease of 1 runs out\n") }
#ifdef FENCE
#define RUN_OUT(f, w) :: atomic { HAS(f, w) && over[w] -> f = f & (255 - (1 << w)); printf("a fence of W%d runs out\n", w) }
  RUN_OUT(fences[0], 0) RUN_OUT(fences[1], 0) RUN_OUT(all_fences[0], 0) RUN_OUT(all_fences[1], 0)
#if NW > 1
  RUN_OUT(fences[0], 1) RUN_OUT(fences[1], 1) RUN_OUT(all_fences[0], 1) RUN_OUT(all_fences[1], 1)
#endif
#endif
#if EVICT > 0
  :: atomic { lost < EVICT -> lost++;
       if
       :: part[0] != 0 -> part[0] = 0; printf("a key of table 0 is lost\n")
       :: part[1] != 0 -> part[1] = 0; printf("a key of table 1 is lost\n")
       :: epoch[0] != 0 -> epoch[0] = 0; printf("the epoch of shard 0 is lost\n")
       :: epoch[1] != 0 -> epoch[1] = 0; printf("the epoch of shard 1 is lost\n")
       :: kind[0] != NOTHING -> CLEAR(0); printf("entry 0 is lost\n")
       :: kind[1] != NOTHING -> CLEAR(1); printf("entry 1 is lost\n")
       :: else -> skip
       fi;
       TIDY }
#endif
  :: timeout -> break
  od
}

init {
  atomic {
    run Reader(0);
#if READERS > 1
    run Reader(1);
#endif
    run Writer(0);
#if NW > 1
    run Writer(1);
#endif
    run World()
  }
}
