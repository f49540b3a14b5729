package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/integration/internal/fixture"
	"github.com/cacheplugin/cacheplugin/internal/testmodel"
)

// labelsOf and brandsOf are the members' lists of an implicit join table.
func labelsOf(brand int) query {
	return func(db *gorm.DB) (any, error) {
		var labels []testmodel.Label
		err := db.Model(&testmodel.Brand{ID: uint(brand)}).Order("labels.id").Association("Labels").Find(&labels)
		return labels, err
	}
}

func brandsOf(label int) query {
	return func(db *gorm.DB) (any, error) {
		var brands []testmodel.Brand
		err := db.Model(&testmodel.Label{ID: uint(label)}).Order("brands.id").Association("Brands").Find(&brands)
		return brands, err
	}
}

// membersOf and groupsOf are those of an explicit one.
func membersOf(group int) query {
	return func(db *gorm.DB) (any, error) {
		var users []testmodel.User
		err := db.Model(&testmodel.Group{ID: uint(group)}).Order("users.id").Association("Members").Find(&users)
		return users, err
	}
}

func groupsOf(user int) query {
	return func(db *gorm.DB) (any, error) {
		var groups []testmodel.Group
		err := db.Model(&testmodel.User{ID: uint(user)}).Order("groups.id").Association("Groups").Find(&groups)
		return groups, err
	}
}

func TestConformanceMany2Many(t *testing.T) {
	conform(t, fixture.Options{}, func(t *testing.T, c *seeded) {
		// Brand 1 has labels 1 and 2, brand 2 has 2 and 3.
		brand := func(id uint) *testmodel.Brand { return &testmodel.Brand{ID: id, Name: "b"} }
		label := func(id uint) *testmodel.Label { return &testmodel.Label{ID: id, Text: "l"} }
		members := []query{labelsOf(1), labelsOf(2), brandsOf(1), brandsOf(2), brandsOf(3)}
		objects := []query{byKey[testmodel.Brand](1), byKey[testmodel.Brand](2), byKey[testmodel.Label](1), byKey[testmodel.Label](3)}
		// Other rows of the same join table, of a query that names them.
		pair := func(brand, label int) query {
			return find[map[string]any](func(db *gorm.DB) *gorm.DB {
				return db.Table("brand_labels").Where("brand_id = ? AND label_id = ?", brand, label)
			})
		}
		labels := func(id uint) *gorm.Association { return c.DB.Omit("Labels.*").Model(brand(id)).Association("Labels") }
		brands := func(id uint) *gorm.Association { return c.DB.Omit("Brands.*").Model(label(id)).Association("Brands") }
		for _, s := range []struct {
			name string
			do   func() error
			drop []query // the others stay
			keep []query
		}{
			{
				"M2M-01 append", func() error { return labels(1).Append(label(3)) },
				[]query{labelsOf(1), brandsOf(3), pair(1, 3)}, []query{labelsOf(2), brandsOf(1), brandsOf(2), pair(2, 2)},
			},
			{
				"M2M-02 delete", func() error { return labels(1).Delete(label(3)) },
				[]query{labelsOf(1), brandsOf(3), pair(1, 3)}, []query{labelsOf(2), brandsOf(1), brandsOf(2), pair(2, 2)},
			},
			{
				"M2M-03 append from the other side", func() error { return brands(1).Append(brand(2)) },
				[]query{labelsOf(2), brandsOf(1), pair(2, 1)}, []query{labelsOf(1), brandsOf(2), brandsOf(3), pair(1, 1)},
			},
			{
				"M2M-04 delete from the other side", func() error { return brands(1).Delete(brand(2)) },
				[]query{labelsOf(2), brandsOf(1), pair(2, 1)}, []query{labelsOf(1), brandsOf(2), brandsOf(3), pair(1, 1)},
			},
			{
				"M2M-05 replace", func() error { return labels(2).Replace(label(1), label(2)) },
				[]query{labelsOf(2), brandsOf(1), brandsOf(3), pair(2, 1), pair(2, 3)}, []query{labelsOf(1), pair(1, 1)},
			},
			{
				"M2M-06 replace from the other side", func() error { return brands(1).Replace(brand(1)) },
				[]query{labelsOf(2), brandsOf(1), pair(2, 1)}, []query{labelsOf(1), pair(1, 2)},
			},
			{
				"M2M-11 clear, and another brand keeps its list", func() error { return labels(2).Clear() },
				[]query{labelsOf(2), brandsOf(2), pair(2, 2)}, []query{labelsOf(1), brandsOf(1), pair(1, 2)},
			},
			{
				"M2M-08 clear from the other side", func() error { return brands(2).Clear() },
				[]query{labelsOf(1), brandsOf(2), pair(1, 2)}, []query{labelsOf(2), brandsOf(1), pair(1, 1)},
			},
		} {
			t.Run(s.name, func(t *testing.T) {
				c.fill(t, members...)
				c.fill(t, objects...)
				c.fill(t, pair(1, 1), pair(1, 2), pair(1, 3), pair(2, 1), pair(2, 2), pair(2, 3))
				require.NoError(t, s.do())
				c.kept(t, objects...) // M2M-10
				c.dropped(t, s.drop...)
				c.kept(t, s.keep...) // M2M-09
				c.fresh(t, members...)
			})
		}
		t.Run("a row of the join table by the table's name", func(t *testing.T) {
			c.fill(t, labelsOf(1), labelsOf(2), brandsOf(3))
			require.NoError(t, c.DB.Table("brand_labels").Create(map[string]any{"brand_id": 2, "label_id": 3}).Error)
			c.dropped(t, labelsOf(2), brandsOf(3))
			c.kept(t, labelsOf(1))
		})
	})
}

func TestConformanceExplicitJoinTable(t *testing.T) {
	conform(t, fixture.Options{}, func(t *testing.T, c *seeded) {
		// Staff are ann and bob, the guest is eve.
		all := []query{membersOf(1), membersOf(2), groupsOf(1), groupsOf(2), groupsOf(5)}
		owner := find[testmodel.Membership](where("role = ?", "owner"))
		for _, s := range []struct {
			name string
			do   func() error
			drop []query
			keep []query
		}{
			{
				"M2M-01 append", func() error {
					return c.DB.Omit("Members.*").Model(&testmodel.Group{ID: 2}).Association("Members").Append(&testmodel.User{ID: 2})
				},
				[]query{membersOf(2), groupsOf(2)}, []query{membersOf(1), groupsOf(1)},
			},
			{
				"M2M-02 delete", func() error {
					return c.DB.Model(&testmodel.Group{ID: 2}).Association("Members").Delete(&testmodel.User{ID: 2})
				},
				[]query{membersOf(2), groupsOf(2)}, []query{membersOf(1), groupsOf(1)},
			},
			{
				"M2M-07 through the join table's own model", func() error {
					return c.DB.Create(&testmodel.Membership{GroupID: 2, UserID: 1, Role: "guest"}).Error
				},
				[]query{membersOf(2), groupsOf(1)}, []query{membersOf(1), groupsOf(2)},
			},
			{
				"M2M-07 a column of the join table", func() error {
					return c.DB.Model(&testmodel.Membership{GroupID: 2, UserID: 1}).Update("role", "owner").Error
				},
				[]query{owner}, []query{membersOf(1), groupsOf(2)},
			},
			{
				"M2M-08 clear from the other side", func() error {
					return c.DB.Model(&testmodel.User{ID: 1}).Association("Groups").Clear()
				},
				[]query{membersOf(1), membersOf(2), groupsOf(1), owner}, []query{groupsOf(5)},
			},
			{
				"a member goes for good", func() error { return c.DB.Unscoped().Select("Groups").Delete(&testmodel.User{ID: 5}).Error },
				[]query{membersOf(2), groupsOf(5)}, nil,
			},
		} {
			t.Run(s.name, func(t *testing.T) {
				c.fill(t, all...)
				c.fill(t, owner)
				require.NoError(t, s.do())
				c.dropped(t, s.drop...)
				c.kept(t, s.keep...)
				c.fresh(t, all...)
			})
		}
	})
}
