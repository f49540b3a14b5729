package testmodel

// Brand has labels; ids of the two tables coincide in the seed.
type Brand struct {
	ID     uint    `gorm:"primaryKey"`
	Name   string  `gorm:"size:100"`
	Labels []Label `gorm:"many2many:brand_labels;constraint:OnDelete:CASCADE"`
}

// Label is the other side of Brand.
type Label struct {
	ID     uint    `gorm:"primaryKey"`
	Text   string  `gorm:"size:100"`
	Brands []Brand `gorm:"many2many:brand_labels;constraint:OnDelete:CASCADE"`
}

// OrderLine has a composite key.
type OrderLine struct {
	OrderID  uint   `gorm:"primaryKey;autoIncrement:false"`
	Line     uint   `gorm:"primaryKey;autoIncrement:false"`
	Product  string `gorm:"size:100"`
	Quantity int
	Price    string `gorm:"type:decimal(12,4)"`
}

// Stock has a table, a primary key and columns with names of their own.
type Stock struct {
	Article string `gorm:"primaryKey;column:art_no;size:40"`
	Amount  int    `gorm:"column:qty"`
	Place   string `gorm:"column:where_it_is;size:40"`
}

// TableName is not what GORM would make of the type's name.
func (Stock) TableName() string { return "tbl_stock" }

// Device has a UUID as key, which PostgreSQL takes in several spellings.
type Device struct {
	ID    UUID   `gorm:"primaryKey"`
	Name  string `gorm:"size:100"`
	State string `gorm:"size:20"`
}
