package main

import (
	"context"
	"errors"
	"html/template"
	"net/http"
	"strconv"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/decorators"
)

const templates = `
{{define "front"}}<!doctype html><title>Blog</title>
<ul>{{range .Articles}}<li><a href="/articles/{{.ID}}">{{.Title}}</a> by {{.Author.Name}}{{end}}</ul>{{end}}
{{define "article"}}<!doctype html><title>{{.Article.Title}}</title>
<h1>{{.Article.Title}}</h1><p>One of {{.Written}} by {{.Article.Author.Name}}, {{.Discussed}} comments
{{cachedAs "comments" .Ctx .Comments "" . .Article.ID}}{{end}}
{{define "comments"}}<ol>{{range comments .Article.ID}}<li>{{.Text}}{{end}}</ol>{{end}}`

// blog is what the pages stand on.
type blog struct {
	db      *gorm.DB
	pages   *template.Template
	written *decorators.Func[uint, int64] // articles by author
}

// site returns the handler: queries cached by profile and by hand, a count by a
// function, the comments by a fragment, and whole pages.
func site(db *gorm.DB) (http.Handler, error) {
	b := &blog{db: db}
	var err error
	// A new article of an author drops the author's count, and no other's.
	b.written, err = decorators.CachedAs(db, "written", func(ctx context.Context, author uint) (n int64, err error) {
		err = decorators.Handle(ctx, db).Model(&Article{}).Where("author_id = ?", author).Count(&n).Error
		return n, err
	}, decorators.SamplesOf(func(author uint) []any {
		return []any{db.Model(&Article{}).Where("author_id = ?", author)}
	}))
	if err != nil {
		return nil, err
	}
	fragments, err := decorators.NewFragments(db, "blog")
	if err != nil {
		return nil, err
	}
	b.pages, err = template.New("blog").Funcs(fragments.FuncMap()).Funcs(template.FuncMap{"comments": b.comments}).Parse(templates)
	if err != nil {
		return nil, err
	}
	fragments.Bind(b.pages)

	front, err := decorators.ViewAs(db, "front", decorators.Samples(&Article{}, &Author{}), decorators.StatusHeader("X-Cache"), decorators.Lock())
	if err != nil {
		return nil, err
	}
	article, err := decorators.ViewAs(db, "article", decorators.StatusHeader("X-Cache"),
		decorators.Samples(&Author{}, &Article{}),
		decorators.SamplesOf(func(r *http.Request) []any { return []any{b.commentsOf(r.PathValue("id"))} }))
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", front.Wrap(page(b.front)))
	mux.Handle("GET /articles/{id}", article.Wrap(page(b.article)))
	mux.Handle("POST /articles/{id}/comments", page(b.comment))
	return mux, nil
}

// page turns errors into answers.
func page(serve func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch err := serve(w, r); {
		case errors.Is(err, gorm.ErrRecordNotFound):
			http.NotFound(w, r)
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
}

func (b *blog) front(w http.ResponseWriter, r *http.Request) error {
	var articles []Article
	err := decorators.Handle(r.Context(), b.db).Preload("Author").Order("id").Find(&articles).Error
	if err != nil {
		return err
	}
	return b.pages.ExecuteTemplate(w, "front", map[string]any{"Articles": articles})
}

func (b *blog) article(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	db := decorators.Handle(ctx, b.db)
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 32)
	if err != nil {
		return gorm.ErrRecordNotFound
	}
	var article Article
	if err := db.Preload("Author").First(&article, id).Error; err != nil {
		return err
	}
	written, err := b.written.Call(ctx, article.AuthorID)
	if err != nil {
		return err
	}
	// The profile of comments caches nothing by itself; this count is asked for.
	var discussed int64
	err = db.Scopes(cache.Cache(cache.Ops(cache.Count))).Model(&Comment{}).Where("article_id = ?", id).Count(&discussed).Error
	if err != nil {
		return err
	}
	return b.pages.ExecuteTemplate(w, "article", map[string]any{
		"Ctx": ctx, "Article": article, "Written": written, "Discussed": discussed, "Comments": b.commentsOf(id),
	})
}

// commentsOf is the query for an article's comments.
func (b *blog) commentsOf(article any) *gorm.DB {
	return b.db.Model(&Comment{}).Where("article_id = ?", article)
}

func (b *blog) comments(article uint) ([]Comment, error) {
	var comments []Comment
	err := b.db.Scopes(cache.NoCache()).Where("article_id = ?", article).Order("id").Find(&comments).Error
	return comments, err
}

// comment stores a comment if its article is there, in one transaction.
func (b *blog) comment(w http.ResponseWriter, r *http.Request) error {
	err := b.db.WithContext(r.Context()).Transaction(func(tx *gorm.DB) error {
		var article Article
		if err := tx.First(&article, "id = ?", r.PathValue("id")).Error; err != nil {
			return err
		}
		return tx.Create(&Comment{ArticleID: article.ID, Text: r.FormValue("text")}).Error
	})
	if err == nil {
		http.Redirect(w, r, "/articles/"+r.PathValue("id"), http.StatusSeeOther)
	}
	return err
}
