//! Opening the service's database and migrating it.
