package work

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/checker/internal/history"
	"github.com/cacheplugin/cacheplugin/lists"
)

// readingKey is where a reader's context has its reading.
type readingKey struct{}

// reading is what the Observer tells of a client's present read.
type reading struct {
	items, teams history.Source
	inside       bool // in a transaction, which takes no leases
	asked        bool // the database was, by package lists
	*tally
}

// tally counts what becomes of look-ups.
type tally struct{ missed, leased, fenced int64 }

// observe takes the answer's source from the plugin's events.
func (r *reading) observe(e cacheplugin.Event) {
	source := &r.items
	if strings.HasSuffix(e.Table, "teams") {
		source = &r.teams
	}
	switch e.Kind {
	case cacheplugin.EventHit:
		*source = history.FromCache
	case cacheplugin.EventMiss:
		if !r.inside {
			r.missed++
		}
	case cacheplugin.EventStore:
		*source = history.Stored
		r.leased++
	case cacheplugin.EventSkip:
		switch {
		case e.Unstored:
			r.leased++
		case e.Reason == "a write is being committed":
			r.fenced++
		}
	}
}

// declareFeeds declares lists of each group's items, and has a reading told when these ask
// the database.
func declareFeeds(db *gorm.DB, timeout time.Duration) (*lists.List[Item], error) {
	asked := func(db *gorm.DB) {
		if r, ok := db.Statement.Context.Value(readingKey{}).(*reading); ok {
			r.asked = true
		}
	}
	err := errors.Join(
		db.Callback().Row().Before("gorm:row").Register("checker:asked", asked),
		db.Callback().Query().Before("gorm:query").Register("checker:asked", asked))
	if err != nil {
		return nil, err
	}
	return lists.New[Item](db, "feeds", lists.By("Grp"), lists.Order("Ver", lists.Descending), lists.Timeout(timeout))
}

// reader is one client that reads.
type reader struct {
	job    Job
	db     *gorm.DB
	feeds  *lists.List[Item]
	random *rand.Rand
	log    *history.Writer
	now    reading
	tally  tally

	items  []Item
	teams  []Team
	joined []joined
}

// joined is a row of an item with its group.
type joined struct {
	ID, Grp, Ver uint32
	Tver         *uint32
}

// ways to read, each as often as it is listed: hits of single rows and lists
// are what a program mostly does.
var ways = []history.Kind{
	history.ReadItem, history.ReadItem, history.ReadItem, history.ReadItem,
	history.ReadList, history.ReadList, history.ReadList, history.ReadItems,
	history.ReadCount, history.ReadEither, history.ReadJoined, history.ReadGroup,
	history.ReadGroupOf, related, history.ReadFeed, history.ReadFeed, history.CountFeed,
}

// related is a group with its items, which are two queries and two records.
const related history.Kind = 0

// inTransaction is how many reads there are to one in a transaction.
const inTransaction = 32

func newReader(job Job, db *gorm.DB, feeds *lists.List[Item], random *rand.Rand, log *history.Writer) *reader {
	r := &reader{job: job, feeds: feeds, random: random, log: log}
	r.db = db.WithContext(context.WithValue(context.Background(), readingKey{}, &r.now))
	return r
}

// one does and writes down one read. An error of the database is returned.
func (r *reader) one() error {
	h := history.Record{Kind: ways[r.random.IntN(len(ways))]}
	item, group := uint32(1+r.random.IntN(r.job.Items)), uint32(1+r.random.IntN(r.job.Groups))
	h.A = group
	switch h.Kind {
	case history.ReadItem, history.ReadGroupOf:
		h.A = item
	case history.ReadItems:
		h.A, h.B = item, item%uint32(r.job.Items)+1
	case history.ReadEither:
		h.B = group*3%uint32(r.job.Items) + 1
	}
	r.now = reading{tally: &r.tally}
	r.items, r.teams, r.joined = r.items[:0], r.teams[:0], r.joined[:0]
	db := r.db
	h.Start = history.Now()
	var err error
	if r.random.IntN(inTransaction) == 0 {
		r.now.inside = true
		tx := db.Begin()
		err = errors.Join(tx.Error, r.ask(tx, &h))
		_ = tx.Rollback() // it has written nothing
	} else {
		err = r.ask(db, &h)
	}
	if err != nil {
		return err
	}
	h.End = history.Now()
	return r.note(&h)
}

// ask sends the query.
func (r *reader) ask(db *gorm.DB, h *history.Record) error {
	switch h.Kind {
	case history.ReadItem:
		if r.random.IntN(2) == 0 {
			return db.Find(&r.items, h.A).Error
		}
		var item Item
		err := db.Take(&item, h.A).Error
		if errors.Is(err, gorm.ErrRecordNotFound) {
			return nil
		}
		r.items = append(r.items, item)
		return err
	case history.ReadItems:
		return db.Where("id IN ?", []uint32{h.A, h.B}).Find(&r.items).Error
	case history.ReadList:
		return db.Where("grp = ?", h.A).Order("id").Find(&r.items).Error
	case history.ReadCount:
		var n int64
		err := db.Model(&Item{}).Where("grp = ?", h.A).Count(&n).Error
		h.Count = uint32(n)
		return err
	case history.ReadEither:
		return db.Where("grp = ? OR id = ?", h.A, h.B).Find(&r.items).Error
	case history.ReadJoined:
		return db.Model(&Item{}).Select("items.id, items.grp, items.ver, teams.ver AS tver").
			Joins("LEFT JOIN teams ON teams.id = items.grp").Where("items.grp = ?", h.A).Find(&r.joined).Error
	case history.ReadGroup:
		return db.Find(&r.teams, h.A).Error
	case history.ReadFeed:
		items, err := r.feeds.On(db).Get(db.Statement.Context, lists.Key("Grp", h.A)).Page(0, r.job.Items+1)
		r.items = append(r.items, items...)
		return err
	case history.CountFeed:
		n, err := r.feeds.On(db).Count(db.Statement.Context, lists.Key("Grp", h.A))
		h.Count = uint32(n)
		return err
	case history.ReadGroupOf:
		return db.Where("id IN (SELECT grp FROM items WHERE id = ?)", h.A).Find(&r.teams).Error
	default:
		return db.Preload("Items").Find(&r.teams, h.A).Error
	}
}

// note writes down what came back.
func (r *reader) note(h *history.Record) error {
	if h.Kind == related {
		if len(r.teams) == 1 {
			second := *h
			second.Kind, second.Source = history.ReadList, r.now.items
			for _, i := range r.teams[0].Items {
				second.States = append(second.States, i.state())
			}
			if err := r.log.Add(&second); err != nil {
				return err
			}
		}
		h.Kind = history.ReadGroup
	}
	h.Source = r.now.items
	if h.Kind == history.ReadGroup || h.Kind == history.ReadGroupOf {
		h.Source = r.now.teams
	}
	if h.Kind.IsFeed() && !r.now.asked {
		h.Source = history.FromCache
	}
	for _, i := range r.items {
		h.States = append(h.States, i.state())
	}
	for _, t := range r.teams {
		h.States = append(h.States, t.state())
	}
	for _, j := range r.joined {
		h.States = append(h.States, Item{ID: j.ID, Grp: j.Grp, Ver: j.Ver}.state())
	}
	if len(r.joined) > 0 && r.joined[0].Tver != nil {
		h.States = append(h.States, Team{ID: h.A, Ver: *r.joined[0].Tver}.state())
	}
	return r.log.Add(h)
}
