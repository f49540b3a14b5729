package main

import (
	"context"
	"time"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/lists"
)

// Follow says that somebody follows somebody else.
type Follow struct {
	ID         uint
	FollowerID int `gorm:"uniqueIndex:feed_pair"`
	FolloweeID int `gorm:"uniqueIndex:feed_pair"`
	CreatedAt  time.Time
}

// TableName implements GORM's Tabler.
func (Follow) TableName() string { return "feed_follows" }

// Network is who follows whom.
type Network struct {
	db      *gorm.DB
	follows *lists.List[Follow]
}

// NewNetwork returns the network that a database has.
func NewNetwork(db *gorm.DB) (*Network, error) {
	follows, err := lists.New[Follow](db, "follows",
		lists.By("FollowerID"), lists.By("FollowerID", "FolloweeID"),
		lists.Order("CreatedAt", lists.Descending), lists.Timeout(time.Hour))
	return &Network{db, follows}, err
}

// Follow has somebody follow another from a time on. The lists learn of it by themselves.
func (n *Network) Follow(ctx context.Context, follower, followee int, at time.Time) error {
	return n.db.WithContext(ctx).Create(&Follow{FollowerID: follower, FolloweeID: followee, CreatedAt: at}).Error
}

// Unfollow ends that.
func (n *Network) Unfollow(ctx context.Context, follower, followee int) error {
	return n.db.WithContext(ctx).Where("follower_id = ? AND followee_id = ?", follower, followee).Delete(&Follow{}).Error
}

// Following are those whom somebody follows, the newest first, in pages.
func (n *Network) Following(ctx context.Context, follower, offset, limit int) ([]Follow, error) {
	return n.follows.Get(ctx, lists.Key("FollowerID", follower)).Page(offset, limit)
}

// Follows reports whether somebody follows another.
func (n *Network) Follows(ctx context.Context, follower, followee int) (bool, error) {
	count, err := n.follows.Count(ctx, lists.Key("FollowerID", follower, "FolloweeID", followee))
	return count > 0, err
}

// Daily are the numbers of those whom somebody has begun to follow on each day from one to
// another.
func (n *Network) Daily(ctx context.Context, follower int, from, to time.Time) ([]lists.Bucket, error) {
	return n.follows.CountsBy(ctx, lists.Key("FollowerID", follower), lists.Day, from, to)
}
