package conj_test

import (
	"fmt"
	"log"
	"slices"

	"github.com/cacheplugin/cacheplugin/conj"
)

// A row that shares no key with a query can't have influenced its result.
func ExampleCompile() {
	articles := conj.NewTable("public.articles", "articles", []conj.Column{
		{Name: "id", Kind: conj.Integer}, {Name: "tag_id", Kind: conj.Integer}, {Name: "title", Kind: conj.Text},
	})
	plan, err := conj.Compile(conj.PostgreSQL, "SELECT * FROM articles WHERE tag_id IN ($1, $2) AND title LIKE $3",
		func(conj.TableName) (*conj.Table, error) { return articles, nil }, conj.Limits{})
	if err != nil {
		log.Fatal(err)
	}
	deps, err := plan.Bind([]any{int64(1), int64(2), "H%"})
	if err != nil {
		log.Fatal(err)
	}
	var keys []conj.Key
	for _, c := range deps[0].Conjunctions {
		fmt.Println("depends on rows of", deps[0].Table.ID, "with", c.Terms[0].Column+string(c.Terms[0].Value))
		keys = append(keys, c.Key)
	}

	scheme := deps[0].Conjunctions[0].Scheme
	for _, tag := range []int64{2, 3} {
		row := make(conj.Image, 3) // what is not known is empty
		row[1] = articles.Columns()[1].FromParam(conj.PostgreSQL, tag)
		of, _ := articles.Keys(conj.Change{New: row}, []conj.Scheme{scheme})
		fmt.Println("a row with tag_id =", tag, "matters:", slices.Contains(keys, of[0]))
	}
	// Output:
	// depends on rows of public.articles with tag_id=1
	// depends on rows of public.articles with tag_id=2
	// a row with tag_id = 2 matters: true
	// a row with tag_id = 3 matters: false
}
