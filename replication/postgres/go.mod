module github.com/cacheplugin/cacheplugin/replication/postgres

go 1.26.0

require (
	github.com/cacheplugin/cacheplugin v0.1.0
	github.com/jackc/pglogrepl v0.0.0-20251213150135-2e8d0df862c1
	github.com/jackc/pgx/v5 v5.10.0
	gorm.io/gorm v1.31.2
)
