package commit

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cacheplugin/cacheplugin/conj"
)

// What a row says drops what the journal would have dropped, for any images
// and any schemes; a row that had to be cut drops the table.
func TestARowOfTheOutboxDropsWhatItsJournalWould(t *testing.T) {
	kinds := []conj.Kind{conj.Opaque, conj.Integer, conj.Text, conj.Bytes, conj.UUID, conj.Unreadable}
	values := []conj.Value{"", conj.Null, conj.NotNull, "=1", "=", "=\x00\xff", "#hash"}
	rapid.Check(t, func(t *rapid.T) {
		columns := make([]conj.Column, rapid.IntRange(0, 4).Draw(t, "columns"))
		for i := range columns {
			columns[i] = conj.Column{Name: string(rune('a' + i)), Kind: rapid.SampledFrom(kinds).Draw(t, "kind")}
		}
		table := conj.NewTable("public.t\"\n", "t", columns)
		j := newJournal(&Plugin{config: Config{MaxImages: 1000}})
		s := &space{id: string(rapid.SliceOf(rapid.Byte()).Draw(t, "namespace"))}
		images := make([]conj.Image, rapid.IntRange(0, 5).Draw(t, "images"))
		for n := range images {
			images[n] = make(conj.Image, len(columns))
			for i := range columns {
				images[n][i] = rapid.SampledFrom(values).Draw(t, "value")
			}
		}
		j.add(s, table, images...)
		var schemes []conj.Scheme
		for range rapid.IntRange(0, 3).Draw(t, "schemes") {
			var at []int
			var of []conj.Value
			for i := range columns {
				if rapid.Bool().Draw(t, "in the scheme") {
					at, of = append(at, i), append(of, conj.Null)
				}
			}
			schemes = append(schemes, table.Conjunction(at, of).Scheme)
		}

		namespaces, changes, err := j.encodeLocked()
		require.NoError(t, err)
		_, all, decoded, err := decodePosted(outboxRow{namespaces: []byte(namespaces), format: outboxFormat, changes: []byte(changes)})
		require.NoError(t, err)
		require.Empty(t, all)
		require.Len(t, decoded[s.id], 1)
		require.Equal(t, table.ID, decoded[s.id][0].Table)
		want, wantOK := imageKeys(table, images, schemes)
		got, ok := decoded[s.id][0].Keys(schemes)
		if len(images) == 0 {
			require.Empty(t, got)
			return
		}
		if ok { // a column of a kind that can't be told drops the table instead
			require.True(t, wantOK)
			require.Equal(t, want, got)
			return
		}
		for _, c := range columns {
			wantOK = wantOK && c.Kind != conj.Unreadable
		}
		require.False(t, wantOK)
	})
}

func TestALargeRowOfTheOutboxNamesItsTablesOnly(t *testing.T) {
	table := conj.NewTable("t", "t", []conj.Column{{Name: "a", Kind: conj.Text}})
	s := &space{}
	j := newJournal(&Plugin{config: Config{MaxImages: 1_000_000}})
	images := make([]conj.Image, maxOutboxRow)
	for i := range images {
		images[i] = conj.Image{"=some text"}
	}
	j.add(s, table, images...)
	_, changes, err := j.encodeLocked()
	require.NoError(t, err)
	require.Equal(t, `[{"n":0,"t":"t","w":true}]`, changes)
}

func FuzzDecodePosted(f *testing.F) {
	f.Add([]byte(`[""]`), outboxFormat, []byte(`[{"n":0,"t":"t","c":[["a","text"]],"i":[["PTE"]]}]`))
	f.Add([]byte(`["", ":x"]`), outboxFormat, []byte(`[{"n":1,"all":true}]`))
	f.Fuzz(func(t *testing.T, namespaces []byte, format string, changes []byte) {
		_, all, decoded, err := decodePosted(outboxRow{namespaces: namespaces, format: format, changes: changes})
		if err == nil && len(all)+len(decoded) == 0 {
			t.Fatal("a row that drops nothing must be an error")
		}
		for _, list := range decoded {
			for _, c := range list {
				if c.Keys != nil {
					c.Keys([]conj.Scheme{"", conj.MakeScheme([]string{"a"})})
				}
			}
		}
	})
}
