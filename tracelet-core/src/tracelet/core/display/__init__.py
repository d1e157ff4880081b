"""What people see: amounts and times in words, HTML in which nothing runs, and previews of files."""
