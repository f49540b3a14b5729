/*
 * Results with joined rows: dependencies that only the result itself tells, in
 * the style of cache.pml.
 *
 * Table a has one row, which refers to one of the two rows of table b.
 * Conjunction 0 is "the row of a", 1 is the whole of b, 2 and 3 are "id = 0" and
 * "id = 1" in b. Query 0 is the row of a joined with the row of b that it refers
 * to: it depends on conjunction 0, and on that of the row of b that it shows;
 * until this is known, provisionally on 1. Query 1 reads the whole of b, query 2
 * its row 0. A result is which row of b it shows, and the number of commits that
 * have changed each row when it was read. Both tables' hashes are one.
 *
 * Every call of a script is one atomic step, leases run out whenever they like,
 * and each hit is checked: of no row that it shows may it be older than the
 * newest commit to that row that has returned.
 *
 * Flags. Grade:    WHOLE   nor may the joined result as a whole be older than a
 *                          commit that has returned and changed it
 *                  STRONG  not older than what is committed
 *        Mode:     STAMPS  InsideOut; else ConjunctionSets
 *                  LAZY    ConjunctionSets: an invalidation may take a set away
 *                          and leave its entries and leases, which are reclaimed
 *                          later or never
 *        Writers:  FENCE   drop and fence before COMMIT
 *                  CHUNKS  an invalidation of b takes two calls, the row's
 *                          conjunction being in the first
 *                  ONCE    with CHUNKS: the whole of b is in the second call
 *                          only, not in each
 *        Readers:  UNCOVERED  no provisional dependency
 *                  UNCHECKED  the save doesn't look whether it still stands
 *                  LATE       b's schemes are registered by the save, not before
 *                  LATE_ROWS  the scheme of its rows is, that of the table before
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

#define A 0                              /* the conjunctions */
#define B 1
#define ROW(i) (2 + (i))
#define SCHEME(c) ((c) < 2 -> (c) : 2)   /* of a conjunction: the row of a, the whole of b, the rows of b */
#define HAS(mask, i) (((mask) >> (i)) & 1)

/* The database. */
bit refers;                              /* the row of b that the row of a refers to */
byte version[3];                         /* of the row of a and those of b */
byte owed[3];                            /* what hits must have seen of them */
#ifdef WHOLE
byte all, owed_all;                      /* of the joined result */
byte has_all;
#endif

/* Redis. */
byte generation;                         /* of the tables; 0: none */
byte schemes;                            /* registered, a mask */
byte fences[2];                          /* around a and b, masks of writers */
byte stamp[4];                           /* of the conjunctions; 0: none */
byte members[4];                         /* of the conjunctions' sets, masks of queries */
#ifdef LAZY
byte garbage;                            /* of the sets that were taken away */
#endif
byte kind[3], holder[3];                 /* the entries */
byte has0[3], has1[3], has2[3];          /* the versions that they show */
bit shows;                               /* the row of b that entry 0 names */
byte vouched[3];                         /* the generation in an entry's witness */
byte vouch0, vouch[3];                   /* the stamps in it: of A, and of the conjunction of b */

/* What readers under way have been given. */
byte given[NR], given0[NR], given1[NR];
bool over[NW];                           /* the writer has committed, or is done */
byte n;                                  /* scratch, zero between steps */

/* The conjunction of b that an entry depends on. */
#define OF(q) (q == 0 -> ROW(shows) : (q == 1 -> B : ROW(0)))

#define USED(v)  (generation == v || vouched[0] == v || vouched[1] == v || vouched[2] == v || given[0] == v || given[1] == v)
#define USED0(v) (stamp[A] == v || vouch0 == v || given0[0] == v || given0[1] == v)
#define USED1(v) (stamp[1] == v || stamp[2] == v || stamp[3] == v || vouch[0] == v || vouch[1] == v || vouch[2] == v || given1[0] == v || given1[1] == v)
#define DRAW(used, into) n = 1; do :: used(n) -> n++ :: else -> break od; into = n; n = 0

#define CLEAR(q) kind[q] = NOTHING; holder[q] = 0; has0[q] = 0; has1[q] = 0; has2[q] = 0; vouched[q] = 0; vouch[q] = 0; \
  if :: q == 0 -> vouch0 = 0; shows = 0; CLEAR_ALL :: else fi
#ifdef WHOLE
#define CLEAR_ALL has_all = 0
#else
#define CLEAR_ALL skip
#endif

/* What refers to an identity that is gone can never be valid again. */
#define TIDY1(r) \
  if :: given[r] != 0 && given[r] != generation -> given[r] = DEAD :: else fi; \
  if :: given0[r] != 0 && given0[r] != stamp[A] -> given0[r] = DEAD :: else fi; \
  if :: given1[r] != 0 && given1[r] != stamp[B] && given1[r] != stamp[ROW(0)] -> given1[r] = DEAD :: else fi
#define GONE(q) (kind[q] == VALUE && (vouched[q] != generation || \
  (vouch[q] != 0 && vouch[q] != stamp[OF(q)]) || (q == 0 && vouch0 != 0 && vouch0 != stamp[A])))
#define TIDY2(q) if :: GONE(q) -> CLEAR(q) :: else fi
#define TIDY TIDY1(0); TIDY1(1); TIDY2(0); TIDY2(1); TIDY2(2)

/* An entry's witness is that of now, and so is what it names. */
#ifdef STAMPS
#define VALID(q) (generation != 0 && vouched[q] == generation && stamp[OF(q)] != 0 && vouch[q] == stamp[OF(q)] && \
  (q != 0 || (stamp[A] != 0 && vouch0 == stamp[A])))
#else
#define VALID(q) (generation != 0 && vouched[q] == generation && HAS(members[OF(q)], q) && (q != 0 || HAS(members[A], 0)))
#endif

/* An invalidation by one conjunction, as far as its scheme is known. */
#ifdef STAMPS
#define DROP(c, known) if :: HAS(known, SCHEME(c)) -> stamp[c] = 0 :: else fi
#else
#ifdef LAZY
#define TAKE_AWAY(c) :: garbage = garbage | members[c]
#else
#define TAKE_AWAY(c)
#endif
#define DROP(c, known) if :: HAS(known, SCHEME(c)) && members[c] != 0 -> \
    if :: if :: HAS(members[c], 0) -> CLEAR(0) :: else fi; \
          if :: HAS(members[c], 1) -> CLEAR(1) :: else fi; \
          if :: HAS(members[c], 2) -> CLEAR(2) :: else fi \
    TAKE_AWAY(c) fi; \
    members[c] = 0 :: else fi
#endif

/* Whether the lease of an entry counts: one that the sets don't name is taken over. */
#ifdef LAZY
#define LEASED(q) (kind[q] == LEASE && (q != 0 || (HAS(members[A], 0) && HAS(members[B], 0))) && (q != 1 || HAS(members[B], 1)) && (q != 2 || HAS(members[ROW(0)], 2)))
#else
#define LEASED(q) (kind[q] == LEASE)
#endif
#define DROP_ALL(known) if :: row == 0 -> DROP(A, known) :: row == 1 -> DROP(B, known); DROP(ROW(0), known) :: else -> DROP(B, known); DROP(ROW(1), known) fi

/* A dependency on a conjunction of b. */
#ifdef STAMPS
#define JOIN(c) if :: stamp[c] == 0 -> DRAW(USED1, stamp[c]) :: else fi; given1[me] = stamp[c]
#else
#define JOIN(c) members[c] = members[c] | (1 << q)
#endif

#define REST q = 0; row = 0; seen0 = 0; seen1 = 0; seen2 = 0; given[me] = 0; given0[me] = 0; given1[me] = 0 REST_ALL
#ifdef WHOLE
#define REST_ALL ; seen_all = 0
#else
#define REST_ALL
#endif

proctype Reader(byte me) {
  byte q, row, seen0, seen1, seen2;
#ifdef WHOLE
  byte seen_all;
#endif
again:
  /* acquire.lua */
  atomic {
    if :: q = 0 :: q = 1 :: q = 2 fi;
    if
    :: kind[q] == VALUE && VALID(q) ->
       printf("R%d: hit of %d, row %d, versions %d %d %d of %d %d %d\n", me, q, shows, has0[q], has1[q], has2[q], owed[0], owed[1], owed[2]);
       assert(q != 0 || has0[0] >= owed[0]);
       assert((q == 0 && shows == 1) || has1[q] >= owed[1]);
       assert((q == 0 && shows == 0) || q == 2 || has2[q] >= owed[2]);
#ifdef WHOLE
       assert(q != 0 || has_all >= owed_all);
#endif
       REST; goto again
    :: else
    fi;
    if
    :: LEASED(q) -> printf("R%d: %d is leased\n", me, q); REST; goto again
    :: !LEASED(q) && (fences[1] != 0 || (q == 0 && fences[0] != 0)) -> printf("R%d: %d is fenced\n", me, q); REST; goto again
    :: else
    fi;
    if :: generation == 0 -> DRAW(USED, generation); schemes = 0 :: else fi;
#if defined(LATE)
    if :: q == 0 -> schemes = schemes | 1 :: q == 1 -> schemes = schemes | 2 :: q == 2 -> schemes = schemes | 4 fi;
#elif defined(LATE_ROWS)
    if :: q == 0 -> schemes = schemes | 3 :: q == 1 -> schemes = schemes | 2 :: q == 2 -> schemes = schemes | 4 fi;
#else
    if :: q == 0 -> schemes = schemes | 7 :: q == 1 -> schemes = schemes | 2 :: q == 2 -> schemes = schemes | 4 fi;
#endif
    given[me] = generation;
    CLEAR(q);
    if
    :: q == 0 ->
#ifdef STAMPS
       if :: stamp[A] == 0 -> DRAW(USED0, stamp[A]) :: else fi; given0[me] = stamp[A];
#else
       members[A] = members[A] | 1;
#endif
#ifndef UNCOVERED
       JOIN(B)
#endif
    :: q == 1 -> JOIN(B)
    :: q == 2 -> JOIN(ROW(0))
    fi;
    kind[q] = LEASE; holder[q] = me + 1;
    printf("R%d: leases %d\n", me, q)
  };
  atomic {
    if
    :: q == 0 -> row = refers; seen0 = version[0];
       if :: row == 0 -> seen1 = version[1] :: else -> seen2 = version[2] fi;
#ifdef WHOLE
       seen_all = all;
#endif
    :: q == 1 -> seen1 = version[1]; seen2 = version[2]
    :: q == 2 -> seen1 = version[1]
    fi;
    printf("R%d: reads %d, row %d, versions %d %d %d\n", me, q, row, seen0, seen1, seen2)
  };
  /* save.lua, savejoined.lua */
  atomic {
    if
    :: kind[q] == LEASE && holder[q] == me + 1 ->
#if !defined(UNCHECKED) && !defined(UNCOVERED)
       /* Nothing may have been written to b since the look-up. */
#ifdef STAMPS
       if :: q == 0 && (stamp[B] == 0 || stamp[B] != given1[me]) ->
#else
       if :: q == 0 && !HAS(members[B], 0) ->
#endif
          printf("R%d: may not store %d, b has been written to\n", me, q); REST; TIDY; goto again
       :: else
       fi;
#endif
       CLEAR(q);
       if
       :: q == 0 ->
#if defined(LATE) || defined(LATE_ROWS)
          schemes = schemes | 6;
#endif
#ifndef STAMPS
          members[B] = members[B] & 6;
#endif
          JOIN(ROW(row)); shows = row; vouch0 = given0[me]
#ifdef WHOLE
          ; has_all = seen_all
#endif
       :: else
       fi;
       kind[q] = VALUE; has0[q] = seen0; has1[q] = seen1; has2[q] = seen2; vouched[q] = given[me]; vouch[q] = given1[me];
       printf("R%d: stores %d, row %d, versions %d %d %d\n", me, q, row, seen0, seen1, seen2)
    :: else -> printf("R%d: may not store %d\n", me, q)
    fi;
    REST; TIDY;
    goto again
  }
}

#define OWE(r, v) if :: owed[r] < v -> owed[r] = v :: else fi

proctype Writer(byte me) {
  byte row, to, seen;                    /* row 0 is that of a, 1 and 2 are those of b */
#ifdef WHOLE
  byte seen_all;
#endif
#ifdef CHUNKS
  byte known;
#endif
  atomic {
    if :: row = 0; if :: to = 0 :: to = 1 fi :: row = 1 :: row = 2 fi;
    printf("W%d: is going to write row %d of a, b, b\n", me, row)
  };
#ifdef FENCE
  /* invalidate.lua, with a fence to be set */
  atomic {
    DROP_ALL(schemes);
    if :: row == 0 -> fences[0] = fences[0] | (1 << me) :: else -> fences[1] = fences[1] | (1 << me) fi;
    TIDY;
    printf("W%d: drops in advance and fences the table\n", me)
  };
#endif
  atomic {
#ifdef WHOLE
    if :: (row == 0 && refers != to) || row == 1 + refers -> all++; seen_all = all :: else fi;
#endif
    version[row]++; seen = version[row]; over[me] = true;
    if :: row == 0 -> refers = to :: else fi;
#ifdef STRONG
    owed[row] = version[row];
#endif
    printf("W%d: commits row %d, the row of a refers to %d\n", me, row, refers);
    to = 0
  };
#ifdef KILL
  if :: atomic { printf("W%d: is killed\n", me); goto end } :: skip fi;
#endif
#ifdef CHUNKS
  if
  :: row == 0
  :: atomic { row != 0 ->
       known = schemes;
#ifndef ONCE
       DROP(B, known);
#endif
       if :: row == 1 -> DROP(ROW(0), known) :: else -> DROP(ROW(1), known) fi;
       TIDY;
       printf("W%d: the first call of its invalidation\n", me) }
  fi;
#endif
  /* invalidate.lua, with a fence to be dropped; then Commit returns */
  atomic {
#ifdef CHUNKS
    if :: row == 0 -> DROP(A, schemes) :: else -> DROP(B, known) fi;
    known = 0;
#else
    DROP_ALL(schemes);
#endif
    if :: row == 0 -> fences[0] = fences[0] & (255 - (1 << me)) :: else -> fences[1] = fences[1] & (255 - (1 << me)) fi;
    TIDY;
    OWE(row, seen);
#ifdef WHOLE
    if :: owed_all < seen_all -> owed_all = seen_all :: else fi;
#endif
    printf("W%d: invalidates row %d and returns\n", me, row)
  };
end:
#ifdef WHOLE
  seen_all = 0;
#endif
  row = 0; seen = 0
}

/* What happens by itself. */
proctype World() {
  byte lost;
  do
  :: atomic { kind[0] == LEASE -> CLEAR(0); printf("the lease of 0 runs out\n") }
  :: atomic { kind[1] == LEASE -> CLEAR(1); printf("the lease of 1 runs out\n") }
  :: atomic { kind[2] == LEASE -> CLEAR(2); printf("the lease of 2 runs out\n") }
#ifdef FENCE
  :: atomic { HAS(fences[0] | fences[1], 0) && over[0] -> fences[0] = fences[0] & 254; fences[1] = fences[1] & 254; printf("the fence of W0 runs out\n") }
#if NW > 1
  :: atomic { HAS(fences[0] | fences[1], 1) && over[1] -> fences[0] = fences[0] & 253; fences[1] = fences[1] & 253; printf("the fence of W1 runs out\n") }
#endif
#endif
#ifdef LAZY
/* reclaim.lua, whatever the entry is now: one that is a member anew and is dropped
 * all the same only costs a hit. */
#define RECLAIM(q) :: atomic { HAS(garbage, q) -> garbage = garbage & (255 - (1 << (q))); \
       if :: kind[q] != NOTHING -> CLEAR(q); printf("entry %d is reclaimed\n", q) :: else fi }
  RECLAIM(0)
  RECLAIM(1)
  RECLAIM(2)
#endif
#if EVICT > 0
#define LOSE(c) (stamp[c] | members[c]) != 0 -> stamp[c] = 0; members[c] = 0; printf("conjunction %d is lost\n", c)
  :: atomic { lost < EVICT -> lost++;
       if
       :: generation != 0 -> generation = 0; schemes = 0; fences[0] = 0; fences[1] = 0; printf("the tables' hash is lost\n")
       :: LOSE(0) :: LOSE(1) :: LOSE(2) :: LOSE(3)
       :: kind[0] != NOTHING -> CLEAR(0); printf("entry 0 is lost\n")
       :: kind[1] != NOTHING -> CLEAR(1); printf("entry 1 is lost\n")
       :: kind[2] != NOTHING -> CLEAR(2); printf("entry 2 is lost\n")
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
