module github.com/cacheplugin/cacheplugin/replication/mysql

go 1.26.0

require (
	github.com/cacheplugin/cacheplugin v0.1.0
	github.com/go-mysql-org/go-mysql v1.13.0
	github.com/go-sql-driver/mysql v1.8.1
	gorm.io/gorm v1.31.2
)
