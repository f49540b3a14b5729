package replication

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/internal/testenv"
)

// byID reads what is cached by key.
func byID(t testing.TB, f *fixture.Fixture, id int64) func() {
	return func() {
		var found []article
		require.NoError(t, f.DB.Where("id = ?", id).Find(&found).Error)
	}
}

func byTitle(t testing.TB, f *fixture.Fixture, title string) func() {
	return func() {
		var found []article
		require.NoError(t, f.DB.Where("title = ?", title).Find(&found).Error)
	}
}

// outcomes are those of several reads.
func outcomes(f *fixture.Fixture, reads ...func()) string {
	all := make([]string, len(reads))
	for i, read := range reads {
		all[i] = f.Outcome(read)
	}
	return strings.Join(all, " ")
}

// Without the old rows a change drops the whole table, unless results depend on the key
// alone.
func TestPostgres_without_old_rows_drops_by_key_or_whole(t *testing.T) {
	f, c := onPostgres(t, false, fixture.Options{})
	execute(t, f, "INSERT INTO articles VALUES (1, 1, 'Hydrogen', ''), (2, 2, 'Helium', '')")
	p := newPostgres(t, f, c)
	run(t, p)
	first, second := byID(t, f, 1), byID(t, f, 2)
	for _, write := range []string{"UPDATE articles SET tag_id = 5 WHERE id = 1", "DELETE FROM articles WHERE id = 1", "INSERT INTO articles VALUES (1, 1, '', '')"} {
		toldPostgres(t, f, p)
		outcomes(f, first, second)
		require.Equal(t, "hit hit", outcomes(f, first, second))
		execute(t, f, write)
		toldPostgres(t, f, p)
		require.Equal(t, "miss hit", outcomes(f, first, second), write)
	}
	one, two := titles(t, f, 1), titles(t, f, 2)
	outcomes(f, first, second, one, two)
	require.Equal(t, "hit hit hit hit", outcomes(f, first, second, one, two))
	execute(t, f, "INSERT INTO articles VALUES (3, 1, '', '')")
	toldPostgres(t, f, p)
	require.Equal(t, "hit hit miss hit", outcomes(f, first, second, one, two), "a new row is known")
	execute(t, f, "UPDATE articles SET tag_id = 5 WHERE id = 1")
	toldPostgres(t, f, p)
	require.Equal(t, "miss miss miss miss", outcomes(f, first, second, one, two), "its old tag is not")
}

// A large value that an update leaves as it is is not in the log again. It isn't null.
func TestPostgres_large_values_that_were_not_changed_are_not_null(t *testing.T) {
	f, c := onPostgres(t, true, fixture.Options{})
	execute(t, f, "ALTER TABLE articles ALTER COLUMN title SET STORAGE EXTERNAL")
	long := strings.Repeat("Hydrogen ", 2000)
	execute(t, f, "INSERT INTO articles VALUES (1, 1, ?, ''), (2, 2, 'Helium', '')", long)
	p := newPostgres(t, f, c)
	run(t, p)
	toldPostgres(t, f, p)
	large, small := byTitle(t, f, long), byTitle(t, f, "Helium")
	var none []article
	null := func() { require.NoError(t, f.DB.Where("title IS NULL").Find(&none).Error) }
	outcomes(f, large, small, null)
	require.Equal(t, "hit hit hit", outcomes(f, large, small, null))
	execute(t, f, "UPDATE articles SET text = 'x' WHERE id = 1")
	toldPostgres(t, f, p)
	require.Equal(t, "miss hit hit", outcomes(f, large, small, null))

	// Without the old row it is not known.
	execute(t, f, "ALTER TABLE articles REPLICA IDENTITY DEFAULT")
	toldPostgres(t, f, p)
	outcomes(f, large, small, null)
	execute(t, f, "UPDATE articles SET text = 'y' WHERE id = 1")
	toldPostgres(t, f, p)
	require.Equal(t, "miss miss miss", outcomes(f, large, small, null))
}

func TestPostgres_partitions_cascades_and_definitions(t *testing.T) {
	f, c := onPostgres(t, true, fixture.Options{})
	execute(t, f, "CREATE TABLE parents (id BIGINT PRIMARY KEY)")
	execute(t, f, "CREATE TABLE children (id BIGINT PRIMARY KEY, parent_id BIGINT REFERENCES parents ON DELETE CASCADE ON UPDATE CASCADE)")
	execute(t, f, "CREATE TABLE parts (id BIGINT, tag_id BIGINT) PARTITION BY RANGE (id)")
	execute(t, f, "CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (100)")
	execute(t, f, "CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (100) TO (200)")
	for _, table := range []string{"children", "parents", "parts_low", "parts_high"} {
		execute(t, f, "ALTER TABLE "+table+" REPLICA IDENTITY FULL")
	}
	execute(t, f, "INSERT INTO parents VALUES (1), (2)")
	execute(t, f, "INSERT INTO children VALUES (10, 1), (20, 2)")
	execute(t, f, "INSERT INTO parts VALUES (1, 1), (2, 2), (150, 1)")
	read := func(table, column string, value int64) func() {
		return func() {
			var ids []int64
			require.NoError(t, f.DB.Table(table).Where(column+" = ?", value).Pluck("id", &ids).Error)
		}
	}
	p := newPostgres(t, f, c)
	run(t, p)
	reads := []func(){read("children", "parent_id", 1), read("children", "parent_id", 2), read("parts", "tag_id", 1), read("parts", "tag_id", 2)}
	for _, write := range []struct{ query, outcome string }{
		{"DELETE FROM parents WHERE id = 1", "miss hit hit hit"},
		{"UPDATE parents SET id = 1 WHERE id = 2", "miss miss hit hit"},
		{"UPDATE parts SET tag_id = 2 WHERE id = 1", "hit hit miss miss"},
		{"UPDATE parts SET id = 140 WHERE id = 2", "hit hit miss miss"}, // two partitions at once: whole
		{"DELETE FROM parts WHERE id = 150", "hit hit miss hit"},
		{"TRUNCATE parents CASCADE", "miss miss hit hit"},
		{"TRUNCATE parts", "hit hit miss miss"},
	} {
		toldPostgres(t, f, p)
		outcomes(f, reads...)
		require.Equal(t, "hit hit hit hit", outcomes(f, reads...))
		execute(t, f, write.query)
		toldPostgres(t, f, p)
		require.Equal(t, write.outcome, outcomes(f, reads...), write.query)
	}
	// Of a definition the log tells with the next row.
	outcomes(f, reads...)
	execute(t, f, "ALTER TABLE children RENAME COLUMN parent_id TO parent")
	execute(t, f, "INSERT INTO parents VALUES (7)")
	execute(t, f, "INSERT INTO children VALUES (70, 7)")
	toldPostgres(t, f, p)
	require.Equal(t, "miss", f.Outcome(read("children", "parent", 1)))
	execute(t, f, "UPDATE children SET id = 71")
	toldPostgres(t, f, p)
	require.Equal(t, "miss", f.Outcome(read("children", "parent", 7)))
}

// What foreign keys do in InnoDB is not in its log.
func TestMariaDB_follows_foreign_keys_and_statements(t *testing.T) {
	f, c := onMariaDB(t, fixture.Options{})
	execute(t, f, "CREATE TABLE parents (id BIGINT PRIMARY KEY, name VARCHAR(20))")
	execute(t, f, "CREATE TABLE children (id BIGINT PRIMARY KEY, parent_id BIGINT, FOREIGN KEY (parent_id) REFERENCES parents (id) ON DELETE CASCADE ON UPDATE CASCADE)")
	execute(t, f, "CREATE TABLE loose (id BIGINT PRIMARY KEY, parent_id BIGINT, FOREIGN KEY (parent_id) REFERENCES parents (id) ON DELETE SET NULL ON UPDATE SET NULL)")
	execute(t, f, "CREATE TABLE below (id BIGINT PRIMARY KEY, child_id BIGINT, FOREIGN KEY (child_id) REFERENCES children (id) ON DELETE CASCADE)")
	execute(t, f, "INSERT INTO parents VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')")
	execute(t, f, "INSERT INTO children VALUES (10, 1), (20, 2), (30, 3)")
	execute(t, f, "INSERT INTO loose VALUES (10, 1), (20, 2), (30, 3)")
	execute(t, f, "INSERT INTO below VALUES (100, 10), (300, 30)")
	read := func(table, column string, value any) func() {
		return func() {
			var ids []int64
			q := f.DB.Table(table)
			if value == nil {
				q = q.Where(column + " IS NULL")
			} else {
				q = q.Where(column+" = ?", value)
			}
			require.NoError(t, q.Pluck("id", &ids).Error)
		}
	}
	p := newMariaDB(t, f, c)
	run(t, p)
	// The tables are met.
	execute(t, f, "UPDATE parents SET name = 'x' WHERE id = 4")
	execute(t, f, "DELETE FROM parents WHERE id = 4")
	execute(t, f, "UPDATE children SET parent_id = 3 WHERE id = 20")
	execute(t, f, "UPDATE children SET parent_id = 2 WHERE id = 20")
	reads := []func(){
		read("children", "parent_id", 1), read("children", "parent_id", 2), read("loose", "parent_id", 1),
		read("loose", "parent_id", 2), read("loose", "parent_id", nil), read("below", "child_id", 30),
	}
	all := "hit hit hit hit hit hit"
	for _, write := range []struct{ query, outcome string }{
		{"UPDATE parents SET name = 'y' WHERE id = 1", all},
		{"DELETE FROM parents WHERE id = 1", "miss hit miss hit miss miss"}, // whole: what lies below
		{"UPDATE parents SET id = 1 WHERE id = 2", "miss miss hit miss miss hit"},
		{"DELETE FROM children WHERE id = 30", "hit hit hit hit hit miss"},
		{"SET STATEMENT binlog_format = STATEMENT FOR UPDATE children SET parent_id = 1 WHERE id = 20", "miss miss miss miss miss miss"},
		{"SET SESSION binlog_format = STATEMENT; UPDATE children SET parent_id = 3 WHERE id = 20", "miss miss hit hit hit miss"},
		{"ALTER TABLE loose ADD COLUMN more INT", "hit hit miss miss miss hit"},
	} {
		toldMariaDB(t, f, p)
		outcomes(f, reads...)
		require.Equal(t, all, outcomes(f, reads...))
		require.NoError(t, f.Plain.Connection(func(tx *gorm.DB) error {
			for _, one := range strings.Split(write.query, "; ") {
				if err := tx.Exec(one).Error; err != nil {
					return err
				}
			}
			return tx.Exec("SET SESSION binlog_format = ROW").Error
		}))
		toldMariaDB(t, f, p)
		require.Equal(t, write.outcome, outcomes(f, reads...), write.query)
	}
}

// A transaction of many rows takes bounded memory, and drops their tables whole.
func TestA_large_transaction_takes_bounded_memory(t *testing.T) {
	rows := length(1_000_000, 100_000, 30_000)
	onEach(t, fixture.Options{}, func(t *testing.T, s subject) {
		p := s.make(t, sibling(t, s.Fixture, nil))
		run(t, p)
		insert := "INSERT INTO articles SELECT n, n, 'title', repeat('x', 50) FROM generate_series(1, %d) AS n"
		if s.Env.Name == testenv.MariaDB {
			insert = "INSERT INTO articles SELECT seq, seq, 'title', repeat('x', 50) FROM seq_1_to_%d"
		}
		one := titles(t, s.Fixture, 1)
		s.Cached(t, one)
		execute(t, s.Fixture, fmt.Sprintf(insert, rows))

		stop, peak := make(chan struct{}), make(chan uint64)
		go func() {
			var most uint64
			var m runtime.MemStats
			for {
				select {
				case <-stop:
					peak <- most
					return
				case <-time.After(5 * time.Millisecond):
					runtime.ReadMemStats(&m)
					most = max(most, m.HeapAlloc)
				}
			}
		}()
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		began := time.Now()
		execute(t, s.Fixture, "UPDATE articles SET tag_id = tag_id + 1")
		written := time.Since(began)
		s.told(t, s.Fixture, p)
		close(stop)
		grown := int64(<-peak) - int64(m.HeapAlloc)
		t.Logf("%d rows were updated in %v and told of %v later; the heap grew by %d MB at most", rows, written, time.Since(began)-written, grown>>20)
		require.Less(t, grown, int64(256<<20))
		s.Misses(t, one)
		require.GreaterOrEqual(t, p.Status().Changes, int64(rows))
	})
}
