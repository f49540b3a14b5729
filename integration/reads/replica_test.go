package reads

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/plugin/dbresolver"

	"github.com/cacheplugin/cacheplugin"
	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/integration/testdb"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

const settling = "skip: a write is being committed, or on its way to the replicas"

// lagging is a fixture with a replica that has what the test copies to it.
type lagging struct {
	*fixture.Fixture
	replica *gorm.DB
}

func withReplica(t *testing.T, f *fixture.Fixture) *lagging {
	t.Helper()
	l := &lagging{Fixture: f, replica: f.Env.Open(t, nil)}
	require.NoError(t, l.replica.AutoMigrate(&fixture.Brand{}))
	require.NoError(t, f.Plain.Create(&fixture.Brand{Name: "old", Kind: 1}).Error)
	l.catchUp(t)
	fixture.UseResolver(t, f.DB, dbresolver.Config{Replicas: []gorm.Dialector{f.Env.Dialector(f.Env.DSN(t, l.replica))}})
	return l
}

// catchUp has the replica follow the source.
func (l *lagging) catchUp(t *testing.T) {
	t.Helper()
	var rows []fixture.Brand
	require.NoError(t, l.Plain.Find(&rows).Error)
	require.NoError(t, l.replica.Save(&rows).Error)
}

// read returns the brand's name, and what became of the look-up.
func (l *lagging) read(t *testing.T, scopes ...func(*gorm.DB) *gorm.DB) (name, outcome string) {
	t.Helper()
	outcome = l.Outcome(func() {
		var b fixture.Brand
		require.NoError(t, l.DB.Scopes(scopes...).Where("kind = ?", 1).First(&b).Error)
		name = b.Name
	})
	return name, outcome
}

func replicas(lag time.Duration, mode cacheplugin.Mode) fixture.Options {
	return fixture.Options{Models: []any{&fixture.Brand{}}, Config: cacheplugin.Config{ReplicaLag: lag, Mode: mode}}
}

func onBothModes(t *testing.T, o fixture.Options, test func(t *testing.T, l *lagging)) {
	t.Helper()
	for _, mode := range []cacheplugin.Mode{cacheplugin.ConjunctionSets, cacheplugin.InsideOut} {
		o.Config.Mode = mode
		t.Run(mode.String(), func(t *testing.T) {
			fixture.OnEveryDatabase(t, o, func(t *testing.T, f *fixture.Fixture) { test(t, withReplica(t, f)) })
		})
	}
}

func TestWithoutReplicaLagResultsAreReadFromTheSource(t *testing.T) {
	onBothModes(t, replicas(0, 0), func(t *testing.T, l *lagging) {
		require.NoError(t, l.replica.Model(&fixture.Brand{}).Where("id = 1").Update("name", "the replica's").Error)
		name, _ := l.read(t, cache.NoCache())
		require.Equal(t, "the replica's", name, "what isn't cached goes to the replica")
		for _, outcome := range []string{"miss", "hit"} {
			name, got := l.read(t)
			require.Equal(t, outcome, got)
			require.Equal(t, "old", name)
		}
	})
}

// While a replica may lag behind, nothing that it says is stored, and the
// source answers.
func TestUnderReplicaLagNothingIsStoredRightAfterAnInvalidation(t *testing.T) {
	for _, grade := range []cacheplugin.Consistency{cacheplugin.Returned, cacheplugin.Strict} {
		o := replicas(time.Hour, 0)
		o.Config.Consistency = grade
		t.Run(grade.String(), func(t *testing.T) {
			onBothModes(t, o, func(t *testing.T, l *lagging) {
				for _, change := range []func(db *gorm.DB) error{
					fixture.Ways[0].Write, fixture.Ways[3].Write,
					func(db *gorm.DB) error { return cacheplugin.InvalidateModel(db, &fixture.Brand{}) },
					cacheplugin.InvalidateAll,
				} {
					require.NoError(t, change(l.DB)) // the replica doesn't follow
					for range 3 {
						name, outcome := l.read(t)
						require.Equal(t, settling, outcome)
						require.Equal(t, "new", name)
					}
				}
			})
		})
	}
}

// After that time results come from the replica, which has followed; and a
// bound that is too small shows what it is for.
func TestUnderReplicaLagResultsAreReadFromTheReplica(t *testing.T) {
	onBothModes(t, replicas(20*time.Millisecond, 0), func(t *testing.T, l *lagging) {
		require.NoError(t, l.replica.Model(&fixture.Brand{}).Where("id = 1").Update("name", "the replica's").Error)
		stored := func() (name string) {
			require.Eventually(t, func() bool {
				var outcome string
				name, outcome = l.read(t)
				return outcome == "hit"
			}, time.Minute, time.Millisecond)
			return name
		}
		require.Equal(t, "the replica's", stored())

		require.NoError(t, fixture.Ways[0].Write(l.DB))
		require.Equal(t, "the replica's", stored(), "the hazard: it lags behind by more than ReplicaLag")

		l.catchUp(t)
		require.NoError(t, cacheplugin.InvalidateModel(l.DB, &fixture.Brand{}))
		require.Equal(t, "new", stored())
	})
}

// A replica whose sessions give other values fills nothing.
func TestReplicasWithOtherSettingsFillNothing(t *testing.T) {
	env := testdb.Need(t, testenv.Postgres)
	o := replicas(time.Millisecond, 0)
	f := fixture.New(t, env, o)
	require.NoError(t, f.Plain.Create(&fixture.Brand{Name: "old", Kind: 1}).Error)
	replica := env.Open(t, nil)
	require.NoError(t, replica.AutoMigrate(&fixture.Brand{}))
	require.NoError(t, replica.Create(&fixture.Brand{Name: "the replica's", Kind: 1}).Error)
	fixture.UseResolver(t, f.DB, dbresolver.Config{Replicas: []gorm.Dialector{env.Dialector(env.DSN(t, replica) + "&timezone=Asia/Tokyo")}})
	l := &lagging{Fixture: f, replica: replica}
	require.Eventually(t, func() bool {
		name, outcome := l.read(t)
		require.Equal(t, "old", name)
		return outcome == "hit"
	}, time.Minute, time.Millisecond)
}
