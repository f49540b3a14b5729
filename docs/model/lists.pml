/*
 * A list of rows that writes maintain, in the style of cache.pml.
 *
 * There is one table with two rows and one list of both. What the list shows of a
 * row is its version, the number of commits that have changed it; that a row comes
 * or goes is a version like any other. Each script call is one step. A reader looks;
 * where there is no list it registers the scheme, begins the list, reads, and fills it;
 * where rows are marked it reads these and merges them. Leases may run out, so nothing
 * keeps two readers from filling the list at a time. Each row that an answer shows is
 * compared with what is owed of this row at that moment.
 *
 * A writer changes either row, both, or who knows what: then it drops the table. Others
 * may register other schemes, so that there is a generation without this one.
 *
 * Flags. Grade:    STRONG  not older than what was committed, else than what had
 *                          returned
 *        Writers:  FENCE   fence, and mark, before COMMIT
 *        Mistakes: READ_FIRST    read, then begin the list
 *                  UNREGISTERED  begin it whether the scheme is registered or not
 *                  OPEN_FENCED   begin it under a fence
 *                  TELL_FENCED   tell marks under a fence
 *                  BARE          fence, and mark nothing before COMMIT
 *                  ONE_MARK      all marks are alike
 *                  BLIND         merge without a look at the marks
 *                  REFILL        fill a list that is filled
 *                  MARK_BY_CALL  a mark is its caller's token: two executions of one
 *                                call set the same one
 *        Faults:   KILL    a writer dies between COMMIT and invalidation
 *                  EVICT=n Redis loses n keys of any kind
 *                  AGAIN   a call of a reader, or of a writer that marks, is executed
 *                          once more at any later time
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

#define FILL  1
#define MERGE 2
#define MARK  3
#define OPEN  4

/* The database. */
byte version[2];
byte owed[2];

/* Redis. */
byte generation;                         /* 0: there is none */
bool registered;                         /* the list's scheme */
byte fences;                             /* a mask of writers */
byte head, vouched;                      /* the list's version, 0: no list; its generation */
bool filled;
byte shown[2], mark[2];                  /* of its rows; mark 0: none */

/* What readers under way know: the list's version, and the marks that they were told. */
byte known[NR], told0[NR], told1[NR], given[NR];
bool over[NW];
/* A call that is executed again. */
byte late, late_head, late_mark0, late_mark1, late0, late1;
byte n;                                  /* scratch, zero between steps */

#define USED_HEAD(v) (head == v || known[0] == v || known[1] == v || late_head == v)
#define USED_MARK(v) (mark[0] == v || mark[1] == v || told0[0] == v || told0[1] == v || told1[0] == v || told1[1] == v || late_mark0 == v || late_mark1 == v)
#define USED_GENERATION(v) (generation == v || vouched == v)
#define DRAW(used, into) n = 1; do :: used(n) -> n++ :: else -> break od; into = n; n = 0

#define NO_LIST head = 0; vouched = 0; filled = false; shown[0] = 0; shown[1] = 0; mark[0] = 0; mark[1] = 0
#define DROP generation = 0; registered = false; TIDY
#define FORGET known[me] = 0; told0[me] = 0; told1[me] = 0; got0 = 0; got1 = 0
/* What is valid never again counts as gone. */
#define TIDY if :: head != 0 && vouched != generation -> NO_LIST :: else fi

#define VALID (head != 0 && filled && generation != 0 && vouched == generation)

#ifdef ONE_MARK
#define NEW_MARK(into) into = 1
#else
#define NEW_MARK(into) DRAW(USED_MARK, into)
#endif
/* listmark.lua; rows is a mask. */
#define SET_MARKS(rows) \
  if :: head != 0 && (rows & 1) -> NEW_MARK(mark[0]) :: else fi; \
  if :: head != 0 && (rows & 2) -> NEW_MARK(mark[1]) :: else fi

#ifdef REFILL
#define MAY_FILL true
#else
#define MAY_FILL (!filled)
#endif
/* listfill.lua */
#define DO_FILL(h, a, b) \
  if :: head != 0 && head == h && MAY_FILL -> shown[0] = a; shown[1] = b; filled = true :: else fi

#ifdef BLIND
#define MERGES(m, t) (t != 0)
#else
#define MERGES(m, t) (t != 0 && m == t)
#endif
/* listmerge.lua */
#define DO_MERGE(h, t0, t1, a, b) \
  if \
  :: head != 0 && head == h && filled -> \
     if :: MERGES(mark[0], t0) -> shown[0] = a; mark[0] = 0 :: else fi; \
     if :: MERGES(mark[1], t1) -> shown[1] = b; mark[1] = 0 :: else fi \
  :: else \
  fi

#ifdef UNREGISTERED
#define MAY_OPEN_SCHEME true
#else
#define MAY_OPEN_SCHEME registered
#endif
#ifdef OPEN_FENCED
#define MAY_OPEN (generation != 0 && MAY_OPEN_SCHEME)
#else
#define MAY_OPEN (generation != 0 && MAY_OPEN_SCHEME && fences == 0)
#endif
/* listopen.lua */
#define DO_OPEN(into) NO_LIST; DRAW(USED_HEAD, head); vouched = generation; into = head

#define READ got0 = version[0]; got1 = version[1]; printf("R%d: reads version %d, %d\n", me, got0, got1)
#ifdef AGAIN
#define REPEAT(what, h, t0, t1, a, b) \
  if :: late == 0 -> late = what; late_head = h; late_mark0 = t0; late_mark1 = t1; late0 = a; late1 = b :: true fi
#else
#define REPEAT(what, h, t0, t1, a, b) skip
#endif

proctype Reader(byte me) {
  byte got0, got1;
again:
  /* listread.lua */
  if
  :: atomic { VALID && mark[0] == 0 && mark[1] == 0 ->
       printf("R%d: is shown %d, %d of %d, %d\n", me, shown[0], shown[1], owed[0], owed[1]);
       assert(shown[0] >= owed[0] && shown[1] >= owed[1]); goto again }
#ifdef TELL_FENCED
  :: atomic { VALID && (mark[0] != 0 || mark[1] != 0) ->
#else
  :: atomic { VALID && (mark[0] != 0 || mark[1] != 0) && fences == 0 ->
#endif
       known[me] = head; told0[me] = mark[0]; told1[me] = mark[1];
       printf("R%d: is told marks\n", me) }
     atomic { READ };
     atomic {
       DO_MERGE(known[me], told0[me], told1[me], got0, got1);
       printf("R%d: merges\n", me);
       REPEAT(MERGE, known[me], told0[me], told1[me], got0, got1);
       FORGET; goto again }
  /* acquire.lua */
  :: atomic { !VALID && fences == 0 ->
       registered = true;
       if :: generation == 0 -> DRAW(USED_GENERATION, generation); TIDY :: else fi;
       printf("R%d: registers\n", me) }
#ifdef READ_FIRST
     atomic { READ };
#endif
     atomic {
       if :: MAY_OPEN -> DO_OPEN(known[me]); printf("R%d: begins the list\n", me);
#ifndef READ_FIRST
             REPEAT(OPEN, 0, 0, 0, 0, 0)
#endif
          :: else -> printf("R%d: may not begin\n", me); FORGET; goto again
       fi };
#ifndef READ_FIRST
     atomic { READ };
#endif
     atomic {
       DO_FILL(known[me], got0, got1);
       printf("R%d: fills\n", me);
       REPEAT(FILL, known[me], 0, 0, got0, got1);
       FORGET; goto again }
  fi
}

#define OWE(q, v) if :: owed[q] < v -> owed[q] = v :: else fi

proctype Writer(byte me) {
  byte rows, seen0, seen1;               /* rows: a mask; 4 is who knows which */
  bool knows;
  atomic { if :: rows = 1 :: rows = 2 :: rows = 3 :: rows = 7 fi; printf("W%d: is going to write %d\n", me, rows) };
#ifdef FENCE
  /* invalidate.lua, with a fence to be set, and the marks behind it */
  atomic { fences = fences | (1 << me); knows = registered; printf("W%d: fences\n", me); if :: rows & 4 -> DROP :: else fi };
#ifndef BARE
  if :: atomic { knows && !(rows & 4) -> SET_MARKS(rows); printf("W%d: marks before COMMIT\n", me) } :: !(knows && !(rows & 4)) fi;
#endif
#endif
  atomic {
    over[me] = true;
    if :: rows & 1 -> version[0]++ :: else fi;
    if :: rows & 2 -> version[1]++ :: else fi;
    seen0 = version[0]; seen1 = version[1];
#ifdef STRONG
    owed[0] = version[0]; owed[1] = version[1];
#endif
    printf("W%d: commits\n", me)
  };
#ifdef KILL
  if :: atomic { printf("W%d: is killed\n", me); goto end } :: skip fi;
#endif
  /* invalidate.lua, with a fence to be dropped; it tells a list of schemes that has grown */
  atomic { knows = registered; fences = fences & (255 - (1 << me)); printf("W%d: invalidates\n", me); if :: rows & 4 -> DROP :: else fi };
  if
  :: atomic { knows && !(rows & 4) -> SET_MARKS(rows); printf("W%d: marks\n", me);
       if :: rows == 3 && head != 0 -> REPEAT(MARK, 0, mark[0], mark[1], rows, 0) :: else fi }
  :: !(knows && !(rows & 4))
  fi;
  atomic {
    if :: rows & 1 -> OWE(0, seen0) :: else fi;
    if :: rows & 2 -> OWE(1, seen1) :: else fi;
    printf("W%d: returns\n", me)
  };
end:
  rows = 0; seen0 = 0; seen1 = 0; knows = false
}

/* What happens by itself. */
proctype World() {
  byte lost;
  do
  :: atomic { generation == 0 -> DRAW(USED_GENERATION, generation); TIDY; printf("a scheme of others is registered\n") }
#ifdef FENCE
  :: atomic { (fences & 1) && over[0] -> fences = fences & 254; printf("the fence of W0 runs out\n") }
#if NW > 1
  :: atomic { (fences & 2) && over[1] -> fences = fences & 253; printf("the fence of W1 runs out\n") }
#endif
#endif
#if EVICT > 0
  :: atomic { lost < EVICT && generation != 0 -> lost++; DROP; printf("a table's hash is lost\n") }
  :: atomic { lost < EVICT && head != 0 -> lost++; NO_LIST; printf("a key of the list is lost\n") }
#endif
#ifdef AGAIN
  :: atomic { late == FILL -> DO_FILL(late_head, late0, late1); late = 9; printf("a fill comes again\n") }
  :: atomic { late == MERGE -> DO_MERGE(late_head, late_mark0, late_mark1, late0, late1); printf("a merge comes again\n");
       if :: late = 9 :: true fi }
  :: atomic { late == OPEN && MAY_OPEN -> DO_OPEN(late_head); late = 9; printf("a beginning comes again\n") }
#ifdef MARK_BY_CALL
  :: atomic { late == MARK && head != 0 -> mark[0] = late_mark0; mark[1] = late_mark1; late = 9; printf("the marks come again\n") }
#else
  :: atomic { late == MARK && head != 0 -> SET_MARKS(late0); late = 9; printf("the marks come again\n") }
#endif
  :: atomic { late == 9 && late_head != 0 -> late_head = 0; late_mark0 = 0; late_mark1 = 0; late0 = 0; late1 = 0 }
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
